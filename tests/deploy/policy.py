"""What schemas cannot say: each check takes the objects of a kustomization and yields what is wrong with them.

`Facts` are what lies outside: the rules, the server's options, the Dockerfile.
"""

import re
from dataclasses import dataclass

# The release of KServe whose runtimes these are: config/runtimes.
STOCK_PRIORITIES = {"kserve-tritonserver": 1, "kserve-tensorflow-serving": 2}
LIVE, READY = "/v2/health/live", "/v2/health/ready"
DEFAULT_PORTS = {"--http-port": 8000, "--grpc-port": 8001, "--metrics-port": 8002}
KSERVE_DEFAULT_GRACE = 30
KSERVE_MODELS = "/mnt/models"
# What KServe's own services and probes take for granted where a runtime declares no port.
KSERVE_PORTS = {"--http-port": 8080, "--grpc-port": 9000}
JOBS_OF_RULES = re.compile(r".*triton.*")


@dataclass
class Facts:
    """What the manifests have to agree with."""

    records: set  # names of recording rules
    server_options: set  # what `tritonserver --help` lists; empty where no server is installed
    dockerfile_user: int  # 0: root


# --- what the checks share --------------------------------------------------------------------------------------------------

def pods(render):
    """Each (name, labels, pod's spec, the object) that runs a container."""
    for each in render.of("Deployment"):
        template = each["spec"]["template"]
        yield f"Deployment/{each['metadata']['name']}", template.get("metadata", {}).get("labels", {}), template["spec"], each
    for each in runtimes(render):
        yield f"{each['kind']}/{each['metadata']['name']}", each["spec"].get("labels", {}), each["spec"], each


def runtimes(render):
    return render.of("ServingRuntime", "ClusterServingRuntime")


def is_runtime(each):
    return each["kind"] != "Deployment"


def options(container):
    """The server's options, name -> value."""
    return dict((argument.split("=", 1) + [""])[:2] for argument in container.get("args", []) if argument.startswith("--"))


def server_port(container, name):
    return int(options(container).get(name, DEFAULT_PORTS[name]))


def sleep_before_stop(container):
    """Seconds of the preStop hook; 0 without one."""
    hook = container.get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return int(hook["sleep"]["seconds"])
    found = re.search(r"\bsleep[ ,\]\[\"']+(\d+)", " ".join(hook.get("exec", {}).get("command", [])))
    return int(found[1]) if found else 0


def probes(container):
    return {name: container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container}


def matches(selector, labels):
    return bool(selector) and all(labels.get(name) == value for name, value in selector.items())


# --- the checks -------------------------------------------------------------------------------------------------------------

def termination(render, facts):
    """A server has time to drain before it is killed, and its endpoint time to go before it drains."""
    for name, _, spec, each in pods(render):
        grace = spec.get("terminationGracePeriodSeconds", KSERVE_DEFAULT_GRACE)
        for container in spec["containers"]:
            sleep = sleep_before_stop(container)
            exit_timeout = int(options(container).get("--exit-timeout-secs", 30))
            if sleep < 5:
                yield f"{name}: preStop sleeps {sleep} s; at least 5 are needed until the endpoint is removed everywhere"
            if grace <= sleep + exit_timeout:
                yield (f"{name}: terminationGracePeriodSeconds is {grace}, which is not more than preStop's {sleep} s and "
                       f"--exit-timeout-secs={exit_timeout}: requests in flight would be killed")
    for each in render.of("InferenceService"):
        grace = each["spec"]["predictor"].get("terminationGracePeriodSeconds", KSERVE_DEFAULT_GRACE)
        if grace < KSERVE_DEFAULT_GRACE:
            yield (f"InferenceService/{each['metadata']['name']}: terminationGracePeriodSeconds is {grace}, below what the "
                   "runtime needs")


def health(render, facts):
    """Probes ask what Triton answers, where it listens."""
    for name, _, spec, each in pods(render):
        for container in spec["containers"]:
            found = probes(container)
            names = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            for missing in {"livenessProbe", "readinessProbe"} - set(found):
                yield f"{name}: no {missing}"
            for probe, what in found.items():
                get = what.get("httpGet", {})
                wanted = LIVE if probe == "livenessProbe" else READY
                if get.get("path") != wanted:
                    yield f"{name}: {probe} asks {get.get('path')}; {wanted} is what tells that"
                port = names.get(get.get("port"), get.get("port"))
                if port != server_port(container, "--http-port"):
                    yield f"{name}: {probe} asks port {get.get('port')}, where the server has no HTTP"


def security(render, facts):
    """Nothing that a server does not need."""
    for name, _, spec, each in pods(render):
        if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
            yield f"{name}: shares a namespace with the host"
        if not is_runtime(each) and spec.get("automountServiceAccountToken") is not False:
            yield f"{name}: gets a service account's token"
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for container in spec["containers"]:
            own = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
            wanted_values = {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
            for field, wanted in wanted_values.items():
                if own.get(field) is not wanted:
                    yield f"{name}: securityContext.{field} is {own.get(field)}, not {wanted}"
            if own.get("privileged"):
                yield f"{name}: is privileged"
            if own.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{name}: keeps capabilities: {own.get('capabilities')}"
            if own.get("seccompProfile", {}).get("type") != "RuntimeDefault":
                yield f"{name}: seccompProfile is {own.get('seccompProfile')}, not RuntimeDefault"
            if own.get("runAsUser") != facts.dockerfile_user or not own.get("runAsUser"):
                yield f"{name}: runs as user {own.get('runAsUser')}; the Dockerfile's is {facts.dockerfile_user}"
            writable = {mount["mountPath"] for mount in container.get("volumeMounts", [])
                        if "emptyDir" in volumes.get(mount["name"], {}) and not mount.get("readOnly")}
            for path in {"/tmp", "/dev/shm"} - writable:
                yield f"{name}: {path} cannot be written: the root file system is read-only and no emptyDir is mounted there"
            if "memory" not in container.get("resources", {}).get("limits", {}):
                yield f"{name}: has no limit of memory"


def ports(render, facts):
    """The server, its container's ports, services, policies and scrapes name the same ports."""
    known, numbers = set(), {}
    for name, _, spec, each in pods(render):
        for container in spec["containers"]:
            declared = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            known |= set(declared)
            numbers["metrics"] = server_port(container, "--metrics-port")
            for port, number in declared.items():
                if number != server_port(container, f"--{port}-port"):
                    yield f"{name}: the port {port} is {number}, the server's is {server_port(container, f'--{port}-port')}"
            if is_runtime(each):
                for option, number in KSERVE_PORTS.items():
                    if server_port(container, option) != number:
                        yield f"{name}: {option} is {server_port(container, option)}; KServe expects {number}"
                scraped = int(each["spec"].get("annotations", {}).get("prometheus.kserve.io/port", 0))
                if scraped != numbers["metrics"]:
                    yield f"{name}: prometheus.kserve.io/port is {scraped}, the server's metrics are at {numbers['metrics']}"
            elif set(declared) != {"http", "grpc", "metrics"}:
                yield f"{name}: declares the ports {sorted(declared)}, not grpc, http and metrics"
    if not known:
        return
    for each in render.of("Service"):
        for port in each["spec"]["ports"]:
            if port.get("targetPort", port["port"]) not in known | set(numbers.values()):
                yield f"Service/{each['metadata']['name']}: targetPort {port.get('targetPort')} is no port of the container"
    for each in render.of("NetworkPolicy"):
        for rule in each["spec"].get("ingress", []):
            for port in rule.get("ports", []):
                if port["port"] not in known:
                    yield f"NetworkPolicy/{each['metadata']['name']}: {port['port']} is no port of the container"
    for each in render.of("PodMonitor"):
        for endpoint in each["spec"]["podMetricsEndpoints"]:
            if endpoint.get("port") != "metrics":
                yield f"PodMonitor/{each['metadata']['name']}: scrapes the port {endpoint.get('port')}, not metrics"


def scrapes(render, facts):
    """Where no port is declared, the address is made of the pod's and of the port of the metrics."""
    for each in render.of("PodMonitor"):
        for endpoint in each["spec"]["podMetricsEndpoints"]:
            name = f"PodMonitor/{each['metadata']['name']}"
            if endpoint.get("path") != "/metrics":
                yield f"{name}: scrapes {endpoint.get('path')}; Triton's metrics are at /metrics"
            made = [rule["replacement"] for rule in endpoint.get("relabelings", []) if rule.get("targetLabel") == "__address__"]
            if "port" not in endpoint and made != [f"$1:{DEFAULT_PORTS['--metrics-port']}"]:
                yield f"{name}: names no port, and makes the address {made}"
            if not JOBS_OF_RULES.fullmatch(job_of(each, render) or ""):
                yield f"{name}: the job is {job_of(each, render)!r}; the rules look at jobs with 'triton' in their names"


def job_of(monitor, render):
    """The label `job` of what a PodMonitor scrapes."""
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        for rule in endpoint.get("relabelings", []):
            if rule.get("targetLabel") == "job":
                return rule["replacement"].replace("$1", next(iter(monitor["spec"]["selector"]["matchLabels"].values())))
    return monitor["spec"]["selector"]["matchLabels"].get(monitor["spec"].get("jobLabel"))


def selectors(render, facts):
    """Whatever selects pods selects these."""
    labels = [labels for _, labels, _, each in pods(render) if not is_runtime(each)]
    if not labels:
        return
    found = []
    for each in render.of("Service"):
        found.append((each, each["spec"].get("selector")))
    for each in render.of("PodDisruptionBudget", "PodMonitor", "Deployment"):
        found.append((each, each["spec"]["selector"]["matchLabels"]))
    for each in render.of("NetworkPolicy"):
        found.append((each, each["spec"]["podSelector"].get("matchLabels")))
    for each in render.of("Deployment"):
        spread = each["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        found += [(each, constraint["labelSelector"]["matchLabels"]) for constraint in spread]
        if not spread:
            yield f"Deployment/{each['metadata']['name']}: nothing spreads its pods over the nodes"
    for each, selector in found:
        if not all(matches(selector, each_labels) for each_labels in labels):
            yield f"{each['kind']}/{each['metadata']['name']}: selects {selector}, the pods have {labels[0]}"


def volumes(render, facts):
    """What is mounted is there, and the models are read-only where the server looks for them."""
    for name, _, spec, each in pods(render):
        there = {volume["name"] for volume in spec.get("volumes", [])}
        claims = {volume["persistentVolumeClaim"]["claimName"] for volume in spec.get("volumes", [])
                  if "persistentVolumeClaim" in volume}
        for claim in claims - {found["metadata"]["name"] for found in render.of("PersistentVolumeClaim")}:
            yield f"{name}: the claim {claim} is not among the objects"
        for container in spec["containers"]:
            mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
            for mount in mounts.values():
                if mount["name"] not in there:
                    yield f"{name}: mounts {mount['name']}, and has no volume of that name"
            asked = options(container)
            models = asked.get("--model-repository", asked.get("--model-store"))
            if is_runtime(each):
                if models != KSERVE_MODELS:
                    yield f"{name}: looks for models in {models}; KServe puts them into {KSERVE_MODELS}"
            elif not mounts.get(models, {}).get("readOnly"):
                yield f"{name}: the model repository {models} is not mounted, or can be written"


def arguments(render, facts):
    """The command is the server's, and it knows all options."""
    for name, _, spec, each in pods(render):
        for container in spec["containers"]:
            if container.get("args", [""])[0] != "tritonserver" or "command" in container:
                yield f"{name}: the arguments do not begin with tritonserver, which the image's entry point starts"
            if facts.server_options:
                for option in set(options(container)) - facts.server_options:
                    yield f"{name}: tritonserver has no option {option}"


def updates(render, facts):
    """A replica goes only after its successor has come, and nothing sets the number of replicas back."""
    for each in render.of("Deployment"):
        name, spec = f"Deployment/{each['metadata']['name']}", each["spec"]
        if "replicas" in spec:
            yield f"{name}: sets replicas, which undoes what an autoscaler did each time that it is applied"
        if spec.get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{name}: maxUnavailable is not 0: an update would take a replica away before its successor is ready"
        budgets = render.of("PodDisruptionBudget")
        if not budgets:
            yield f"{name}: has no PodDisruptionBudget"
        for budget in budgets:
            if budget["spec"].get("minAvailable") is not None:
                yield f"PodDisruptionBudget/{budget['metadata']['name']}: minAvailable blocks the drain of a single replica"


def scaling(render, facts):
    """The autoscaler asks for a rule that is there, of the pods that are scraped, and takes its value for the replicas."""
    for each in render.of("ScaledObject"):
        name, spec = f"ScaledObject/{each['metadata']['name']}", each["spec"]
        target = spec["scaleTargetRef"]["name"]
        there = {found["metadata"]["name"] for found in render.of("Deployment")}
        there |= {f"{found['metadata']['name']}-predictor" for found in render.of("InferenceService")}
        if there and target not in there:
            yield f"{name}: scales {target}; there is {', '.join(sorted(there))}"
        if spec.get("minReplicaCount", 0) < 1:
            yield (f"{name}: minReplicaCount is {spec.get('minReplicaCount', 0)}: without a replica nothing is measured, so none "
                   "would come back")
        if spec.get("minReplicaCount", 0) > spec.get("maxReplicaCount", 100):
            yield f"{name}: minReplicaCount is above maxReplicaCount"
        if "fallback" not in spec:
            yield f"{name}: has no fallback for a Prometheus that cannot be asked"
        if "scaleDown" not in spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {}):
            yield f"{name}: says nothing of how it scales down"
        for trigger in spec["triggers"]:
            yield from trigger_faults(name, trigger, render, facts)


def trigger_faults(name, trigger, render, facts):
    data = trigger["metadata"]
    if trigger.get("metricType", "AverageValue") != "AverageValue":
        yield (f"{name}: metricType is {trigger['metricType']}: the value would be multiplied by the replicas there are, and no "
               "fallback taken")
    if float(data["threshold"]) != 1:
        yield f"{name}: the threshold is {data['threshold']}; with 1 the value is the number of replicas"
    if data.get("ignoreNullValues") != "false":
        yield f"{name}: ignoreNullValues is not false: no value would mean no load"
    query = re.fullmatch(r'([\w:]+)\{namespace="([^"]*)",job="([^"]*)"\}', data["query"])
    if not query:
        yield f"{name}: the query is not METRIC{{namespace=\"...\",job=\"...\"}}: {data['query']}"
        return
    if query[1] not in facts.records:
        yield f"{name}: asks for {query[1]}, which deploy/monitoring/rules.yaml does not record"
    monitors = render.of("PodMonitor")
    if monitors and query[3] not in {job_of(monitor, render) for monitor in monitors}:
        yield f"{name}: asks for the job {query[3]}; scraped is {', '.join(str(job_of(found, render)) for found in monitors)}"
    recorded = {rule.get("record") for found in render.of("PrometheusRule") for group in found["spec"]["groups"]
                for rule in group["rules"]}
    if monitors and query[1] not in recorded:
        yield f"{name}: asks for {query[1]}, which no PrometheusRule among the objects records"
    namespaces = {found["metadata"].get("namespace") for found in monitors}
    if monitors and query[2] not in namespaces:
        yield f"{name}: asks for the namespace {query[2]}; the pods are in {', '.join(map(str, namespaces))}"


def kserve(render, facts):
    """KServe chooses this runtime for TensorFlow models."""
    for each in runtimes(render):
        name = f"{each['kind']}/{each['metadata']['name']}"
        formats = [found for found in each["spec"]["supportedModelFormats"] if found.get("autoSelect")]
        versions = {found["version"] for found in formats if found["name"] == "tensorflow"}
        if versions != {"1", "2"}:
            yield f"{name}: chosen for the versions {sorted(versions)} of tensorflow; 1 and 2 are KServe's"
        priorities = {found["name"]: set() for found in formats}
        for found in formats:
            priorities[found["name"]].add(found.get("priority"))
        for format_name, values in priorities.items():
            if len(values) > 1:
                yield f"{name}: {format_name} has the priorities {values}; KServe refuses different ones for a format"
            for stock, priority in STOCK_PRIORITIES.items():
                if any((value or 0) <= priority for value in values):
                    yield f"{name}: the priority of {format_name} is {values}, not above that of {stock}, which is {priority}"
        if each["metadata"].get("annotations", {}).get("serving.kserve.io/server-type") != "tritonserver":
            yield f"{name}: does not tell KServe that it is a tritonserver"
        if not {"v2", "grpc-v2"} <= set(each["spec"].get("protocolVersions", [])):
            yield f"{name}: speaks {each['spec'].get('protocolVersions')}; Triton's are v2 and grpc-v2"
        if [container["name"] for container in each["spec"]["containers"]] != ["kserve-container"]:
            yield f"{name}: KServe looks for a container named kserve-container"
        if any("ports" in container and len(container["ports"]) > 1 for container in each["spec"]["containers"]):
            yield f"{name}: declares several ports, which Knative refuses"
    for each in render.of("InferenceService"):
        name, model = f"InferenceService/{each['metadata']['name']}", each["spec"]["predictor"]["model"]
        if model.get("protocolVersion") not in ("v2", "grpc-v2"):
            yield f"{name}: protocolVersion is {model.get('protocolVersion')}, for which KServe chooses TensorFlow Serving"
        scaled = each["metadata"].get("annotations", {}).get("serving.kserve.io/autoscalerClass")
        if render.of("ScaledObject") and scaled != "external":
            yield f"{name}: autoscalerClass is {scaled}: KServe's own autoscaler and the ScaledObject would fight"


CHECKS = [termination, health, security, ports, scrapes, selectors, volumes, arguments, updates, scaling, kserve]


def faults(render, facts):
    return [f"{render.name}: {text}" for check in CHECKS for text in check(render, facts)]
