"""What the custom kinds in deploy/ may contain: the fields that are used there, with their types, as the sources of KServe
(0.20), KEDA and prometheus-operator had them in 2026. Any other field is refused: a name that is spelt wrongly, which the API
server would drop without a word, is found here. Parts that are Kubernetes' own are checked with Kubernetes' schemas.
"""

DEFINITIONS = "https://kubernetes.io/api/_definitions.json#/$defs/"


def kubernetes(name):
    return {"$ref": f"{DEFINITIONS}io.k8s.{name}"}


def fields(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def array(items, least=1):
    return {"type": "array", "items": items, "minItems": least}


def kind(api, name, spec):
    return fields(["apiVersion", "kind", "metadata", "spec"], apiVersion={"const": api}, kind={"const": name},
                  metadata=kubernetes("apimachinery.pkg.apis.meta.v1.ObjectMeta"), spec=spec)


def choice(*values):
    return {"enum": list(values)}


TEXT = {"type": "string", "minLength": 1}
FLAG = {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
POSITIVE = {"type": "integer", "minimum": 1}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": r"^(0|([0-9]+(ms|s|m|h|d|w|y))+)$"}  # of Prometheus
PROTOCOL = choice("v1", "v2", "grpc-v1", "grpc-v2")

CONTAINER = kubernetes("api.core.v1.Container")

# serving.kserve.io/v1alpha1
RUNTIME = fields(
    ["containers"],
    supportedModelFormats=array(fields(["name"], name=TEXT, version=TEXT, autoSelect=FLAG, priority=POSITIVE)),
    protocolVersions=array(PROTOCOL), multiModel=FLAG, disabled=FLAG, hostIPC=FLAG,
    annotations=TEXTS, labels=TEXTS, nodeSelector=TEXTS,
    containers=array(CONTAINER), volumes=array(kubernetes("api.core.v1.Volume")),
    affinity=kubernetes("api.core.v1.Affinity"), tolerations=array(kubernetes("api.core.v1.Toleration")),
    imagePullSecrets=array(kubernetes("api.core.v1.LocalObjectReference")),
)

# serving.kserve.io/v1beta1. The model is a container whose name and image the runtime has, so these may be missing.
MODEL = fields(
    ["modelFormat"],
    modelFormat=fields(["name"], name=TEXT, version=TEXT), protocolVersion=PROTOCOL, runtime=TEXT,
    storageUri={"type": "string", "pattern": r"^(pvc|s3|gs|https?|hf|hdfs|oci)://."}, runtimeVersion=TEXT,
    resources=kubernetes("api.core.v1.ResourceRequirements"), args=array(TEXT),
    env=array(kubernetes("api.core.v1.EnvVar")),
)
INFERENCE_SERVICE = fields(
    ["predictor"],
    predictor=fields(
        ["model"], model=MODEL, minReplicas=COUNT, maxReplicas=POSITIVE, terminationGracePeriodSeconds=COUNT,
        deploymentStrategy=kubernetes("api.apps.v1.DeploymentStrategy"), serviceAccountName=TEXT,
        automountServiceAccountToken=FLAG, annotations=TEXTS, labels=TEXTS, timeout=POSITIVE, containerConcurrency=COUNT,
    ),
)

# keda.sh/v1alpha1
PROMETHEUS_TRIGGER = fields(
    ["serverAddress", "query", "threshold"],
    serverAddress={"type": "string", "pattern": "^https?://"}, query=TEXT,
    threshold={"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, activationThreshold={"type": "string"},
    ignoreNullValues=choice("true", "false"), namespace=TEXT, authModes=TEXT, unsafeSsl=choice("true", "false"),
)
SCALED_OBJECT = fields(
    ["scaleTargetRef", "triggers"],
    scaleTargetRef=fields(["name"], apiVersion=TEXT, kind=TEXT, name=TEXT, envSourceContainerName=TEXT),
    pollingInterval=POSITIVE, cooldownPeriod=COUNT, initialCooldownPeriod=COUNT, idleReplicaCount=COUNT,
    minReplicaCount=COUNT, maxReplicaCount=POSITIVE,
    fallback=fields(["failureThreshold", "replicas"], failureThreshold=COUNT, replicas=COUNT,
                    behavior=choice("static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower")),
    triggers=array(fields(["type", "metadata"], type=choice("prometheus"), name=TEXT, useCachedMetrics=FLAG,
                          metricType=choice("AverageValue", "Value", "Utilization"), metadata=PROMETHEUS_TRIGGER,
                          authenticationRef=fields(["name"], name=TEXT, kind=TEXT))),
    advanced=fields(restoreToOriginalReplicaCount=FLAG, horizontalPodAutoscalerConfig=fields(
        name=TEXT, behavior=kubernetes("api.autoscaling.v2.HorizontalPodAutoscalerBehavior"))),
)

# monitoring.coreos.com/v1
RELABELING = fields(
    sourceLabels=array({"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"}), separator={"type": "string"}, targetLabel=TEXT,
    regex={"type": "string"}, modulus=COUNT, replacement={"type": "string"},
    action=choice("replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase",
                  "keepequal", "dropequal"),
)
POD_MONITOR = fields(
    ["selector", "podMetricsEndpoints"],
    jobLabel=TEXT, podTargetLabels=array(TEXT), selector=kubernetes("apimachinery.pkg.apis.meta.v1.LabelSelector"),
    namespaceSelector=fields(any=FLAG, matchNames=array(TEXT)), sampleLimit=COUNT,
    podMetricsEndpoints=array(fields(
        port=TEXT, path={"type": "string", "pattern": "^/"}, scheme=choice("http", "https"), interval=DURATION,
        scrapeTimeout=DURATION, honorLabels=FLAG, relabelings=array(RELABELING), metricRelabelings=array(RELABELING))),
)
RULE = {
    **fields(["expr"], record={"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"}, alert=TEXT,
             expr={"type": ["string", "integer"]}, labels=TEXTS, annotations=TEXTS, keep_firing_for=DURATION,
             **{"for": DURATION}),
    "oneOf": [{"required": ["record"]}, {"required": ["alert"]}],
}
PROMETHEUS_RULE = fields(
    groups=array(fields(["name", "rules"], name=TEXT, interval=DURATION, limit=COUNT, labels=TEXTS, rules=array(RULE))))

KINDS = {
    ("serving.kserve.io/v1alpha1", "ClusterServingRuntime"): RUNTIME,
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): RUNTIME,
    ("serving.kserve.io/v1beta1", "InferenceService"): INFERENCE_SERVICE,
    ("keda.sh/v1alpha1", "ScaledObject"): SCALED_OBJECT,
    ("monitoring.coreos.com/v1", "PodMonitor"): POD_MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): PROMETHEUS_RULE,
}
SCHEMAS = {key: kind(*key, spec) for key, spec in KINDS.items()}
