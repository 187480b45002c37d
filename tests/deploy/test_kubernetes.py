"""The manifests for Kubernetes: the schemas of five versions accept them, and our own check finds each planted mistake."""

import copy
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from manifests import OUR_PORTS, ROOT, VERSIONS, Manifests, matches, read, schema_problems, secrets

FOLDER = ROOT / "deploy" / "kubernetes"
GATEWAY, STORE, CONSOLE = "StatefulSet gateway", "StatefulSet store", "Deployment console"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """All objects for a cluster."""
    return [*read(sorted(FOLDER.glob("*.yaml"))), *secrets(tmp_path_factory.mktemp("secrets"))]


def found(objects, name):
    kind, _, called = name.partition(" ")
    [each] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, called)]
    return each


def at(value, path):
    """The container before the last step of a path with dots, and that step."""
    *steps, last = [int(step) if step.isdecimal() else step.replace("~", ".") for step in path.split(".")]
    for step in steps:
        value = value[step]
    return value, last


APP = "app~kubernetes~io/name"
POD, ONE = "spec.template.spec", "spec.template.spec.containers.0"
PROBE = "its livenessProbe asks"
GONE = object()

# fmt: off
MISTAKES = [
    # selectors
    (GATEWAY, f"spec.selector.matchLabels.{APP}", "gatway", "does not match its own pods"),
    ("Service gateways", f"spec.selector.{APP}", "gateways", "Service gateways: its selector matches no pod"),
    ("Service gateways", "spec.selector", GONE, "Service gateways: its selector matches no pod"),
    ("Service gateway-3", "spec.selector.statefulset~kubernetes~io/pod-name", "gateway-13", "selector matches no pod"),
    ("Service gateway-9", "spec.selector.statefulset~kubernetes~io/pod-name", "gateway-0", "pod 9 has no Service of its own"),
    ("PodDisruptionBudget gateway", f"spec.selector.matchLabels.{APP}", "gw", "selector matches no pod"),
    ("NetworkPolicy store", f"spec.podSelector.matchLabels.{APP}", "valkey", "selector matches no pod"),
    ("NetworkPolicy store", f"spec.ingress.0.from.0.podSelector.matchLabels.{APP}", "gw", "a peer of its ingress"),
    ("NetworkPolicy console", f"spec.egress.1.to.0.podSelector.matchLabels.{APP}", "gw", "a peer of its egress"),
    (GATEWAY, f"{POD}.topologySpreadConstraints.0.labelSelector.matchLabels.{APP}", "gw", "labels that its pods do not have"),
    (GATEWAY, "spec.serviceName", "gateway", "there is no headless Service gateway"),
    ("Service store", "spec.clusterIP", GONE, "there is no headless Service store"),
    # quantities
    (GATEWAY, f"{ONE}.resources.requests.cpu", "one", "requests cpu: one is not a quantity"),
    (GATEWAY, f"{ONE}.resources.limits.memory", "1GB", "limits memory: 1GB is not a quantity"),
    (GATEWAY, f"{ONE}.resources.requests.memory", "256m", "256m is less than 1 MiB"),
    (GATEWAY, f"{ONE}.resources.requests.memory", "2Gi", "it requests more memory than its limit"),
    (GATEWAY, f"{ONE}.resources.limits.cpu", "1", "a cpu limit would delay speech"),
    (STORE, f"{ONE}.resources.limits", {}, "must have a memory limit"),
    (GATEWAY, "spec.volumeClaimTemplates.0.spec.resources.requests.storage", "1G i", "is not a quantity of at least 1 MiB"),
    (GATEWAY, f"{POD}.volumes.3.emptyDir.sizeLimit", "16 Mi", "is not a quantity"),
    # ids and rights
    (GATEWAY, f"{POD}.securityContext.runAsUser", -5, "runAsUser -5"),
    (GATEWAY, f"{POD}.securityContext.runAsUser", 0, "runAsUser 0"),
    (STORE, f"{POD}.securityContext.fsGroup", GONE, "fsGroup None"),
    (CONSOLE, f"{POD}.securityContext.runAsNonRoot", GONE, "must run as non-root"),
    (CONSOLE, f"{POD}.securityContext.seccompProfile.type", "Unconfined", "default seccomp profile"),
    (GATEWAY, f"{POD}.automountServiceAccountToken", True, "no access to the cluster"),
    (GATEWAY, f"{ONE}.securityContext.readOnlyRootFilesystem", False, "may gain privileges"),
    (GATEWAY, f"{ONE}.securityContext.capabilities.drop", ["NET_RAW"], "keeps capabilities"),
    # ports
    ("Service gateways", "spec.ports.0.targetPort", "uplink", "has no port uplink"),
    ("Service gateways", "spec.ports.1.targetPort", 5557, "has no port 5557"),
    ("Service gateway-1", "spec.ports.0.nodePort", 31000, "node port 31000 is used 2 times"),
    ("Service gateway-1", "spec.ports.0.nodePort", 5555, "node port 5555 is not from 30000 to 32767"),
    ("Service gateway-1", "spec.ports.0.nodePort", GONE, "has no nodePort"),
    (GATEWAY, f"{ONE}.ports.0.name", "down", "port down is listed 2 times"),
    (GATEWAY, f"{ONE}.ports.0.name", "microphone-samples", "port microphone-samples 5555 is not valid"),
    (GATEWAY, f"{ONE}.ports.0.containerPort", 55555555, "port up 55555555 is not valid"),
    (GATEWAY, f"{ONE}.env.5.value", "5565", "GATEWAY_UP_PORT is 5565, and port up is 5555"),
    ("NetworkPolicy gateway", "spec.ingress.0.ports.0.port", "uplink", "names port uplink, which the pods do not have"),
    ("NetworkPolicy gateway", "spec.egress.1.ports.0.port", "redis", "names port redis, which the pods do not have"),
    ("NetworkPolicy gateway", "spec.egress.1.to", GONE, "names port store, but selects no pods"),
    ("NetworkPolicy gateway", "spec.policyTypes", ["Ingress"], "its rules for egress do not count"),
    # probes and stopping
    (GATEWAY, f"{ONE}.livenessProbe.httpGet.path", "/readyz", f"{PROBE} /readyz"),
    (GATEWAY, f"{ONE}.readinessProbe.httpGet.path", "/livez", "its readinessProbe asks /livez"),
    (GATEWAY, f"{ONE}.livenessProbe.httpGet.port", "http", f"{PROBE} port http"),
    (STORE, f"{ONE}.livenessProbe.tcpSocket.port", 6380, f"{PROBE} port 6380"),
    (GATEWAY, f"{ONE}.startupProbe", GONE, "it has no startupProbe"),
    (GATEWAY, f"{ONE}.startupProbe.failureThreshold", 3, "less than 30 s to start"),
    (GATEWAY, f"{POD}.terminationGracePeriodSeconds", 15, "it is killed after 15 s, but may drain for 15 s"),
    # mounts
    (GATEWAY, f"{ONE}.volumeMounts.0.name", "dta", "it mounts dta, which is not a volume"),
    (GATEWAY, f"{ONE}.volumeMounts.4.mountPath", "/data", "/data is mounted 2 times"),
    (GATEWAY, f"{ONE}.volumeMounts.4.mountPath", "tmp", "tmp is not an absolute path"),
    (STORE, f"{ONE}.volumeMounts.2.name", "data", "volume tmp is mounted nowhere"),
    (GATEWAY, f"{ONE}.volumeMounts.3.mountPath", "/secrets/gemini", "/secret/gemini/api-key is in no mounted volume"),
    # secrets
    (GATEWAY, f"{POD}.volumes.0.secret.secretName", "gateways", "there is no Secret gateways"),
    (GATEWAY, f"{POD}.volumes.0.secret.items.0.key", "self.pem", "Secret gateway has no self.pem"),
    (GATEWAY, f"{POD}.volumes.0.secret.defaultMode", 0o644, "readable by every user"),
    (GATEWAY, f"{ONE}.env.11.value", "/secret/store/ca.crt",
     "GATEWAY_STORE_ROOT_CERT: /secret/store/ca.crt is in no mounted volume"),
    ("Secret gemini", "data.api-key", GONE, "GEMINI_API_KEY_FILE"),
    # settings
    (GATEWAY, f"{ONE}.env.9.name", "GATEWAY_MAX_ROBOT", "GATEWAY_MAX_ROBOT is a variable that no program reads"),
    (GATEWAY, f"{ONE}.env.9.name", "GATEWAY_DRAIN_S", "GATEWAY_DRAIN_S is set twice"),
    (GATEWAY, f"{ONE}.env.18.name", "NODE_IP", "uses $(HOST_IP), which is not set before it"),
    (GATEWAY, f"{ONE}.env.17.valueFrom.fieldRef.fieldPath", "metadata.nam", "metadata.nam is not a field of a pod"),
    (GATEWAY, f"{POD}.enableServiceLinks", GONE, "enableServiceLinks is not false"),
    # scaling, names
    ("HorizontalPodAutoscaler gateway", "spec.scaleTargetRef.name", "gateways", "its scaleTargetRef names no workload"),
    ("HorizontalPodAutoscaler gateway", "spec.minReplicas", 11, "minReplicas is greater than maxReplicas"),
    ("HorizontalPodAutoscaler gateway", "spec.maxReplicas", 12, "pod 10 has no Service of its own"),
    ("HorizontalPodAutoscaler gateway", "spec.metrics.0.resource.name", "gpu", "it scales by gpu, but a container"),
    (GATEWAY, "spec.replicas", 2, "each apply would undo the scaling"),
    (GATEWAY, f"{ONE}.image", "localhost/reachy-link/gemini-gateway", "names no version"),
    (STORE, f"{ONE}.image", "valkey/valkey:latest", "names no version"),
    (STORE, "metadata.namespace", "default", "its namespace default is not defined in these files"),
    ("Service store", "metadata.name", "gateways", "Service gateways: is defined 2 times"),
    ("Service store", "metadata.name", "Store_1", "its name is not a DNS label"),
]
# fmt: on


def test_they_are_as_they_should_be(written):
    assert Manifests(written).problems() == []


@pytest.mark.parametrize(("name", "path", "value", "words"), MISTAKES)
def test_a_mistake_that_a_schema_does_not_see_is_found(written, name, path, value, words):
    objects = copy.deepcopy(written)
    place, last = at(found(objects, name), path)
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    problems = Manifests(objects).problems()
    assert any(words in problem for problem in problems), problems


def test_the_schemas_of_five_versions_take_them(written):
    assert len(VERSIONS) == 5
    assert list(schema_problems(written)) == []


@pytest.mark.parametrize(
    ("name", "path", "value", "words"),
    [
        (GATEWAY, f"{POD}.terminationGracePeriodSecond", 20, "terminationGracePeriodSecond"),
        (GATEWAY, f"{ONE}.livenessProbe.httpGet.prot", "health", "prot"),
        ("Service store", "spec.ports.0.port", "six", "six"),
        ("NetworkPolicy store", "spec.podSelectr", {}, "podSelectr"),
    ],
)
def test_a_misspelt_field_is_refused_by_each_version(written, name, path, value, words):
    each = copy.deepcopy(found(written, name))
    place, last = at(each, path)
    place[last] = value
    problems = list(schema_problems([each]))
    assert len(problems) == len(VERSIONS)
    assert all(words in problem for problem in problems)


def test_kustomize_is_told_of_every_file_and_of_our_images():
    told = yaml.safe_load((FOLDER / "Kustomization").read_text())
    assert sorted(told["resources"]) == sorted(path.name for path in FOLDER.glob("*.yaml"))
    images = {each["image"].partition(":") for path in FOLDER.glob("*.yaml") for each in containers(path)}
    ours = {(name, tag) for name, _, tag in images if "reachy-link/" in name}
    assert all(name.startswith("localhost/") for name, _ in ours), "without localhost/ a public registry could serve this name"
    assert {(each["name"], each["newTag"]) for each in told["images"]} == ours


def test_prometheus_calls_the_gateways_what_the_alerts_go_by():
    [monitor] = read([FOLDER / "monitoring" / "pod-monitor.yaml"])
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "reachy-gateway"}]
    assert 'up{job="reachy-gateway"}' in (ROOT / "observability" / "alerts.yml").read_text()
    [gateway] = [each for each in read([FOLDER / "gateway.yaml"]) if each["kind"] == "StatefulSet"]
    assert matches(monitor["spec"]["selector"]["matchLabels"], gateway["spec"]["template"]["metadata"]["labels"])
    assert endpoint["port"] in [port["name"] for port in gateway["spec"]["template"]["spec"]["containers"][0]["ports"]]


def test_secrets_are_not_printed_without_the_key_of_the_api_nor_with_one_that_is_missing(tmp_path):
    def printed(*, key: bool):
        if key:
            (tmp_path / "gemini-api-key").write_text("a-key")
        command = [ROOT / "deploy" / "make-secrets", "--kubernetes"]
        env = {"SECRETS": str(tmp_path), "PATH": os.environ["PATH"]}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    done = printed(key=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "write the Gemini API key into" in done.stderr
    assert printed(key=True).returncode == 0
    (tmp_path / "store" / "tls.key").write_text("")
    done = printed(key=True)
    assert done.returncode == 1
    assert "store/tls.key is missing" in done.stderr


def containers(path: Path):
    return [
        container
        for each in read([path])
        if "template" in each.get("spec", {})
        for container in each["spec"]["template"]["spec"]["containers"]
    ]


def test_the_check_knows_every_port_that_a_gateway_listens_on():
    [container] = [each for each in containers(FOLDER / "gateway.yaml") if each["name"] == "gateway"]
    assert {port["name"] for port in container["ports"]} == set(OUR_PORTS.values())
