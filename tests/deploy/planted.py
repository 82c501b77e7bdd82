"""Faults that are planted in the real manifests, one at a time. Each has to be found, and named."""

import copy

import manifests
import policy


def at(render, kind):
    (found, *_) = render.of(kind)
    return found


def pod(render):
    return at(render, "Deployment")["spec"]["template"]["spec"]


def container(render):
    return pod(render)["containers"][0]


def runtime(render):
    return at(render, "ClusterServingRuntime")["spec"]


def replace_argument(container, option, value):
    container["args"] = [f"{option}={value}" if argument.startswith(option) else argument for argument in container["args"]]


def trigger(render):
    return at(render, "ScaledObject")["spec"]["triggers"][0]


def put(target, name, value):
    target[name] = value


SCALED, RUNTIME, SERVICE = "kubernetes/overlays/scaled", "kserve/runtime", "kserve/inception_v3"

# (the kustomization, what is done to its objects, a part of what has to be said)
POLICY = [
    (SCALED, lambda r: put(pod(r), "terminationGracePeriodSeconds", 45), "terminationGracePeriodSeconds is 45"),
    (SCALED, lambda r: replace_argument(container(r), "--exit-timeout-secs", 60), "--exit-timeout-secs=60"),
    (SCALED, lambda r: container(r).pop("lifecycle"), "preStop sleeps 0 s"),
    (RUNTIME, lambda r: replace_argument(runtime(r)["containers"][0], "--exit-timeout-secs", 25), "is 30, which is not more"),
    (SERVICE, lambda r: put(at(r, "InferenceService")["spec"]["predictor"], "terminationGracePeriodSeconds", 20), "is 20, below"),
    (SCALED, lambda r: put(container(r)["livenessProbe"]["httpGet"], "path", "/v2/health/ready"), "livenessProbe asks"),
    (SCALED, lambda r: put(container(r)["readinessProbe"]["httpGet"], "path", "/healthz"), "readinessProbe asks /healthz"),
    (SCALED, lambda r: put(container(r)["readinessProbe"]["httpGet"], "port", "grpc"), "port grpc, where"),
    (RUNTIME, lambda r: put(runtime(r)["containers"][0]["livenessProbe"]["httpGet"], "port", 8000), "port 8000, where"),
    (SCALED, lambda r: container(r).pop("readinessProbe"), "no readinessProbe"),
    (SCALED, lambda r: put(pod(r)["securityContext"], "runAsNonRoot", False), "runAsNonRoot is False"),
    (SCALED, lambda r: put(pod(r)["securityContext"], "runAsUser", 0), "runs as user 0"),
    (SCALED, lambda r: put(pod(r)["securityContext"], "runAsUser", 2000), "runs as user 2000"),
    (SCALED, lambda r: container(r)["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRootFilesystem is None"),
    (SCALED, lambda r: put(container(r)["securityContext"], "allowPrivilegeEscalation", True), "allowPrivilegeEscalation is True"),
    (SCALED, lambda r: put(container(r)["securityContext"], "privileged", True), "is privileged"),
    (SCALED, lambda r: put(container(r)["securityContext"], "capabilities", {"drop": ["ALL"], "add": ["SYS_PTRACE"]}), "keeps cap"),
    (SCALED, lambda r: pod(r)["securityContext"].pop("seccompProfile"), "seccompProfile is None"),
    (SCALED, lambda r: put(pod(r), "automountServiceAccountToken", True), "token"),
    (SCALED, lambda r: put(pod(r), "hostIPC", True), "namespace with the host"),
    (SCALED, lambda r: pod(r)["volumes"].pop(), "/dev/shm cannot be written"),
    (SCALED, lambda r: container(r)["resources"].pop("limits"), "no limit of memory"),
    (SCALED, lambda r: replace_argument(container(r), "--metrics-port", 9002), "the port metrics is 8002, the server's is 9002"),
    (SCALED, lambda r: put(container(r)["ports"][0], "containerPort", 8080), "the port http is 8080"),
    (SCALED, lambda r: container(r)["ports"].pop(), "declares the ports"),
    (RUNTIME, lambda r: replace_argument(runtime(r)["containers"][0], "--grpc-port", 8001), "--grpc-port is 8001"),
    (RUNTIME, lambda r: put(runtime(r)["annotations"], "prometheus.kserve.io/port", "8080"), "prometheus.kserve.io/port is 8080"),
    (SCALED, lambda r: put(at(r, "Service")["spec"]["ports"][0], "targetPort", "web"), "targetPort web"),
    (SCALED, lambda r: put(at(r, "NetworkPolicy")["spec"]["ingress"][1]["ports"][0], "port", "prom"), "prom is no port"),
    (SCALED, lambda r: put(at(r, "PodMonitor")["spec"]["podMetricsEndpoints"][0], "port", "http"), "scrapes the port http"),
    (SCALED, lambda r: put(at(r, "PodMonitor")["spec"]["podMetricsEndpoints"][0], "path", "/stats"), "scrapes /stats"),
    (SERVICE, lambda r: put(at(r, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["relabelings"][1], "replacement", "$1:8080"),
     "makes the address ['$1:8080']"),
    (SERVICE, lambda r: put(at(r, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["relabelings"][2], "replacement", "$1"),
     "the job is 'inception-v3'"),
    (SCALED, lambda r: at(r, "PodMonitor")["spec"].pop("jobLabel"), "the job is None"),
    (SCALED, lambda r: put(at(r, "Service")["spec"]["selector"], "app.kubernetes.io/name", "triton"), "Service/triton: selects"),
    (SCALED, lambda r: put(at(r, "PodDisruptionBudget")["spec"]["selector"], "matchLabels", {"app": "triton"}), "PodDisruption"),
    (SCALED, lambda r: put(at(r, "NetworkPolicy")["spec"]["podSelector"], "matchLabels", {"app": "x"}), "NetworkPolicy/triton: sel"),
    (SCALED, lambda r: pod(r).pop("topologySpreadConstraints"), "nothing spreads"),
    (SCALED, lambda r: put(container(r)["volumeMounts"][0], "name", "model"), "mounts model"),
    (SCALED, lambda r: container(r)["volumeMounts"][0].pop("readOnly"), "can be written"),
    (SCALED, lambda r: replace_argument(container(r), "--model-repository", "/model"), "repository /model is not mounted"),
    (SCALED, lambda r: put(pod(r)["volumes"][0]["persistentVolumeClaim"], "claimName", "data"), "the claim data"),
    (RUNTIME, lambda r: replace_argument(runtime(r)["containers"][0], "--model-store", "/models"), "KServe puts them into"),
    (SCALED, lambda r: container(r)["args"].append("--exit-timeout-seconds=3"), "no option --exit-timeout-seconds"),
    (SCALED, lambda r: container(r)["args"].pop(0), "do not begin with tritonserver"),
    (SCALED, lambda r: put(at(r, "Deployment")["spec"], "replicas", 3), "sets replicas"),
    (SCALED, lambda r: put(at(r, "Deployment")["spec"]["strategy"]["rollingUpdate"], "maxUnavailable", 1), "maxUnavailable"),
    (SCALED, lambda r: r.objects.remove(at(r, "PodDisruptionBudget")), "has no PodDisruptionBudget"),
    (SCALED, lambda r: put(at(r, "PodDisruptionBudget")["spec"], "minAvailable", 1), "minAvailable blocks"),
    (SCALED, lambda r: put(trigger(r), "metricType", "Value"), "metricType is Value"),
    (SCALED, lambda r: put(trigger(r)["metadata"], "threshold", "10"), "the threshold is 10"),
    (SCALED, lambda r: trigger(r)["metadata"].pop("ignoreNullValues"), "ignoreNullValues"),
    (SCALED, lambda r: put(trigger(r)["metadata"], "query", 'tensorflow_latency:replicas:wanted{namespace="triton",job="x"}'),
     "asks for tensorflow_latency:replicas:wanted"),
    (SCALED, lambda r: put(trigger(r)["metadata"], "query",
                           'tensorflow_latency:replicas:desired{namespace="triton",job="triton"}'), "asks for the job triton;"),
    (SCALED, lambda r: put(trigger(r)["metadata"], "query", trigger(r)["metadata"]["query"].replace('"triton"', '"default"')),
     "asks for the namespace default"),
    (SERVICE, lambda r: r.objects.remove(at(r, "PrometheusRule")), "no PrometheusRule among"),
    (SCALED, lambda r: put(trigger(r)["metadata"], "query", "max(up)"), "the query is not METRIC"),
    (SCALED, lambda r: put(at(r, "ScaledObject")["spec"]["scaleTargetRef"], "name", "tritonserver"), "scales tritonserver"),
    (SERVICE, lambda r: put(at(r, "ScaledObject")["spec"]["scaleTargetRef"], "name", "inception-v3"), "scales inception-v3;"),
    (SCALED, lambda r: put(at(r, "ScaledObject")["spec"], "minReplicaCount", 0), "minReplicaCount is 0"),
    (SCALED, lambda r: put(at(r, "ScaledObject")["spec"], "minReplicaCount", 20), "above maxReplicaCount"),
    (SCALED, lambda r: at(r, "ScaledObject")["spec"].pop("fallback"), "no fallback"),
    (SCALED, lambda r: at(r, "ScaledObject")["spec"].pop("advanced"), "how it scales down"),
    (RUNTIME, lambda r: [put(found, "priority", 2) for found in runtime(r)["supportedModelFormats"]], "not above that of"),
    (RUNTIME, lambda r: put(runtime(r)["supportedModelFormats"][0], "priority", 4), "refuses different ones"),
    (RUNTIME, lambda r: runtime(r)["supportedModelFormats"].pop(0), "chosen for the versions ['2']"),
    (RUNTIME, lambda r: at(r, "ClusterServingRuntime")["metadata"].pop("annotations"), "that it is a tritonserver"),
    (RUNTIME, lambda r: put(runtime(r), "protocolVersions", ["v1"]), "Triton's are v2"),
    (RUNTIME, lambda r: put(runtime(r)["containers"][0], "name", "triton"), "named kserve-container"),
    (RUNTIME, lambda r: put(runtime(r)["containers"][0], "ports", [{"name": "http", "containerPort": 8080},
                                                                  {"name": "grpc", "containerPort": 9000}]), "several ports"),
    (SERVICE, lambda r: at(r, "InferenceService")["spec"]["predictor"]["model"].pop("protocolVersion"), "protocolVersion is None"),
    (SERVICE, lambda r: at(r, "InferenceService")["metadata"]["annotations"].pop("serving.kserve.io/autoscalerClass"), "would fight"),
]
SCHEMA = [
    (SCALED, lambda r: put(container(r), "livenesProbe", container(r).pop("livenessProbe")), "livenesProbe"),
    (SCALED, lambda r: put(container(r)["ports"][0], "containerPort", "8000"), "'8000' is not of type"),
    (SCALED, lambda r: put(at(r, "Deployment"), "apiVersion", "extensions/v1beta1"), "extensions/v1beta1"),
    (SCALED, lambda r: put(at(r, "ScaledObject")["spec"], "minReplicas", 1), "minReplicas"),
    (SCALED, lambda r: put(trigger(r)["metadata"], "threshold", 1), "1 is not of type 'string'"),
    (SCALED, lambda r: put(trigger(r), "metricType", "Average"), "'Average' is not one of"),
    (SCALED, lambda r: put(at(r, "ScaledObject")["spec"]["fallback"], "behavior", "current"), "'current' is not one of"),
    (SCALED, lambda r: put(at(r, "ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"],
                           "stabilisationWindowSeconds", 1), "stabilisationWindowSeconds"),
    (SCALED, lambda r: put(at(r, "PodMonitor")["spec"]["podMetricsEndpoints"][0], "interval", "5 s"), "'5 s' does not match"),
    (SCALED, lambda r: at(r, "PrometheusRule")["spec"]["groups"][0]["rules"][0].pop("record"), "groups.0.rules.0"),
    (RUNTIME, lambda r: put(runtime(r)["supportedModelFormats"][0], "priority", 0), "0 is less than the minimum"),
    (RUNTIME, lambda r: put(runtime(r), "terminationGracePeriodSeconds", 60), "terminationGracePeriodSeconds"),
    (RUNTIME, lambda r: put(runtime(r)["containers"][0], "readinesProbe", {}), "readinesProbe"),
    (SERVICE, lambda r: put(at(r, "InferenceService")["spec"]["predictor"]["model"], "storageURI", "s3://x/y"), "storageURI"),
    (SERVICE, lambda r: put(at(r, "InferenceService")["spec"]["predictor"]["model"], "protocolVersion", "V2"), "'V2' is not one of"),
]


def unnoticed(renders, facts):
    """The planted faults that were not found, and the policies for which none is planted."""
    by_policy = {check: lambda render, check=check: list(check(render, facts)) for check in policy.CHECKS}
    idle = set(policy.CHECKS)
    for plants, checks in ((POLICY, by_policy), (SCHEMA, {"schemas": manifests.schema_faults})):
        for number, (name, plant, part) in enumerate(plants):
            changed = copy.deepcopy(renders[name])
            plant(changed)
            found = {check: find(changed) for check, find in checks.items()}
            noticed = {check for check, texts in found.items() if any(part in text for text in texts)}
            idle -= noticed
            if not noticed:
                yield f"planted fault {number} in {name} was not found: '{part}' is not in {found}"
    yield from (f"no fault is planted for the policy {check.__name__}" for check in idle)
