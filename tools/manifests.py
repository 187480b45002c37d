"""Checks Kubernetes manifests against the schemas of the last five versions, and for mistakes that no schema sees.

``python tools/manifests.py [FILE ...]``: by default the files of ``deploy/kubernetes``, with the output of
``deploy/make-secrets``. A schema accepts a selector that matches nothing, a port that no program listens on, ``cpu: one`` and a
missing secret. A cluster accepts them, too, and then does not work.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from reachy_service.environment import VARIABLES

ROOT: Final = Path(__file__).parent.parent
VERSIONS: Final = ("1.33", "1.34", "1.35", "1.36", "1.37")
WORKLOADS: Final = ("StatefulSet", "Deployment")
NODE_PORTS: Final = range(30000, 32768)
"""https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport"""
QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
FACTORS: Final = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IDS: Final = ("runAsUser", "runAsGroup", "fsGroup")
PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
OURS: Final = re.compile(r"(GATEWAY|CONSOLE|REACHY|GEMINI|ROBOT)_")
OUR_PORTS: Final = {
    "GATEWAY_UP_PORT": "up",
    "GATEWAY_DOWN_PORT": "down",
    "GATEWAY_ADMIN_PORT": "admin",
    "REACHY_HEALTH_PORT": "health",
}
DRAIN_MARGIN_S: Final = 3
"""A supervisor must wait this much longer than a gateway drains: docs/fleet.md."""
START_S: Final = 30
"""The least time that a container must have to start, for slow nodes."""
Labels = dict[str, str]
Object = dict[str, Any]


def schema_problems(objects: Iterable[Object], versions: Iterable[str] = VERSIONS) -> Iterator[str]:
    """The problems that these versions' schemas find, misspelt fields included."""
    import kubernetes_validate  # noqa: PLC0415 - it loads a hundred megabytes of schemas

    for each in objects:
        for version in versions:
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = "/".join(map(str, error.path))
                yield f"{title(each)}: Kubernetes {version} refuses {where}: {error.message}"


def title(each: Object) -> str:
    """An object's kind and name."""
    return f"{each.get('kind', '?')} {each.get('metadata', {}).get('name', '?')}"


def amount(text: object) -> float | None:
    """A quantity as a number; None if the text is not a quantity."""
    match = QUANTITY.fullmatch(str(text))
    return float(match[1]) * FACTORS[match[2] or ""] if match else None


def matches(selector: Labels, labels: Labels) -> bool:
    """Whether a selector selects pods with these labels."""
    return selector.items() <= labels.items()


@dataclass(frozen=True)
class Workload:
    """An object that makes pods."""

    it: Object
    pods: tuple[Labels, ...]
    """The labels of each possible pod."""
    pod: Object = field(repr=False)

    @property
    def containers(self) -> list[Object]:
        """The containers of a pod, init containers included."""
        return [*self.pod.get("initContainers", []), *self.pod.get("containers", [])]

    @property
    def ports(self) -> dict[str | int, int]:
        """Port numbers, by name and by number."""
        ports = [port for container in self.containers for port in container.get("ports", [])]
        return {port["containerPort"]: port["containerPort"] for port in ports} | {
            port["name"]: port["containerPort"] for port in ports if "name" in port
        }


class Manifests:
    """Objects that are deployed together.

    Args:
            objects: All of them, Secrets included.
    """

    def __init__(self, objects: Iterable[Object]) -> None:
        self.objects = list(objects)
        self.workloads = [self._workload(each) for each in self.of(*WORKLOADS)]
        self.secrets = {each["metadata"]["name"]: set(each.get("data", {})) for each in self.of("Secret")}

    def of(self, *kinds: str) -> list[Object]:
        """The objects of some kinds."""
        return [each for each in self.objects if each.get("kind") in kinds]

    def replicas(self, each: Object) -> int:
        """The most pods that a workload may have."""
        scaled = [
            it["spec"]
            for it in self.of("HorizontalPodAutoscaler")
            if it["spec"]["scaleTargetRef"]["name"] == each["metadata"]["name"]
        ]
        return int(scaled[0]["maxReplicas"]) if scaled else int(each["spec"].get("replicas", 1))

    def _workload(self, each: Object) -> Workload:
        template = each["spec"]["template"]
        labels = template["metadata"].get("labels", {})
        name = each["metadata"]["name"]
        numbers = range(self.replicas(each)) if each["kind"] == "StatefulSet" else ()
        pods = tuple(labels | {"statefulset.kubernetes.io/pod-name": f"{name}-{n}"} for n in numbers) or (labels,)
        return Workload(each, pods, template["spec"])

    def problems(self) -> list[str]:
        """All problems, in words."""
        found = [*self._names(), *self._services(), *self._policies(), *self._scaling()]
        for workload in self.workloads:
            parts = (self._workload_itself, self._security, self._volumes, self._references)
            found += [f"{title(workload.it)}: {words}" for part in parts for words in part(workload)]
            for container in workload.containers:
                checks = (
                    self._container(workload, container),
                    self._resources(container),
                    self._probes(workload, container),
                    self._environment(workload, container),
                    self._mounts(workload, container),
                )
                name = f"{title(workload.it)}: container {container.get('name')}"
                found += [f"{name}: {words}" for check in checks for words in check]
        return found

    def _picked(self, selector: Labels) -> list[Workload]:
        return [workload for workload in self.workloads if any(matches(selector, pod) for pod in workload.pods)]

    # --- objects ------------------------------------------------------------------------------------------------------

    def _names(self) -> Iterator[str]:
        spaces = {each["metadata"]["name"] for each in self.of("Namespace")}
        called = Counter((title(each), each["metadata"].get("namespace", "")) for each in self.objects)
        yield from (f"{name}: is defined {n} times" for (name, _), n in called.items() if n > 1)
        for each in self.objects:
            if not NAME.fullmatch(each["metadata"]["name"]):
                yield f"{title(each)}: its name is not a DNS label"
            if each["kind"] != "Namespace" and each["metadata"].get("namespace") not in spaces:
                yield f"{title(each)}: its namespace {each['metadata'].get('namespace')} is not defined in these files"

    def _services(self) -> Iterator[str]:
        used: Counter[int] = Counter()
        for each in self.of("Service"):
            spec = each["spec"]
            picked = self._picked(spec.get("selector", {}))
            if not spec.get("selector") or not picked:
                yield f"{title(each)}: its selector matches no pod"
            for port in spec["ports"]:
                target = port.get("targetPort", port["port"])
                for workload in picked:
                    if target not in workload.ports:
                        yield f"{title(each)}: {title(workload.it)} has no port {target}"
                if (number := port.get("nodePort")) is not None:
                    used[number] += 1
                    if number not in NODE_PORTS:
                        yield f"{title(each)}: node port {number} is not from {NODE_PORTS[0]} to {NODE_PORTS[-1]}"
                elif spec.get("type") == "NodePort":
                    yield f"{title(each)}: port {port.get('name')} has no nodePort: robots would not know it"
        yield from (f"node port {number} is used {n} times" for number, n in used.items() if n > 1)

    def _policies(self) -> Iterator[str]:
        for each in self.of("PodDisruptionBudget"):
            if not self._picked(each["spec"]["selector"]["matchLabels"]):
                yield f"{title(each)}: its selector matches no pod"
        for each in self.of("NetworkPolicy"):
            spec = each["spec"]
            own = self._picked(spec["podSelector"].get("matchLabels", {}))
            if not own:
                yield f"{title(each)}: its selector matches no pod"
            for way, peers in (("ingress", "from"), ("egress", "to")):
                if spec.get(way) is not None and way.capitalize() not in spec.get("policyTypes", []):
                    yield f"{title(each)}: its rules for {way} do not count: policyTypes lacks {way.capitalize()}"
                for rule in spec.get(way) or []:
                    selected = [
                        peer["podSelector"].get("matchLabels", {})
                        for peer in rule.get(peers, [])
                        if "namespaceSelector" not in peer and "podSelector" in peer
                    ]
                    others = [workload for selector in selected for workload in self._picked(selector)]
                    if len(others) < len(selected):
                        yield f"{title(each)}: a peer of its {way} matches no pod"
                    for port in rule.get("ports", []):
                        if isinstance(port.get("port"), str) and not all(
                            port["port"] in it.ports for it in (own if way == "ingress" else others)
                        ):
                            yield f"{title(each)}: its {way} names port {port['port']}, which the pods do not have"
                        if isinstance(port.get("port"), str) and way == "egress" and not others:
                            yield f"{title(each)}: its egress names port {port['port']}, but selects no pods"

    def _scaling(self) -> Iterator[str]:
        for each in self.of("HorizontalPodAutoscaler"):
            spec = each["spec"]
            target = [
                it
                for it in self.workloads
                if title(it.it) == f"{spec['scaleTargetRef']['kind']} {spec['scaleTargetRef']['name']}"
            ]
            if not target:
                yield f"{title(each)}: its scaleTargetRef names no workload in these files"
                continue
            if spec["minReplicas"] > spec["maxReplicas"]:
                yield f"{title(each)}: minReplicas is greater than maxReplicas"
            if "replicas" in target[0].it["spec"]:
                yield f"{title(each)}: {title(target[0].it)} sets replicas: each apply would undo the scaling"
            for metric in spec["metrics"]:
                name = metric.get("resource", {}).get("name")
                if any(name not in container.get("resources", {}).get("requests", {}) for container in target[0].containers):
                    yield f"{title(each)}: it scales by {name}, but a container does not request it"

    # --- a pod --------------------------------------------------------------------------------------------------------

    def _workload_itself(self, workload: Workload) -> Iterator[str]:
        spec = workload.it["spec"]
        if not matches(spec["selector"]["matchLabels"], spec["template"]["metadata"].get("labels", {})):
            yield "its selector does not match its own pods"
        if workload.it["kind"] == "StatefulSet":
            headless = [it["metadata"]["name"] for it in self.of("Service") if it["spec"].get("clusterIP") == "None"]
            if spec.get("serviceName") not in headless:
                yield f"there is no headless Service {spec.get('serviceName')}"
            for_each = [
                it for it in self.of("Service") if "statefulset.kubernetes.io/pod-name" in it["spec"].get("selector", {})
            ]
            if for_each and any(workload in self._picked(it["spec"]["selector"]) for it in for_each):
                lack = [
                    n for n, pod in enumerate(workload.pods) if not any(matches(it["spec"]["selector"], pod) for it in for_each)
                ]
                if lack:
                    yield f"pod {lack[0]} has no Service of its own, so no robot reaches it"
        for spread in workload.pod.get("topologySpreadConstraints", []):
            if not any(matches(spread["labelSelector"]["matchLabels"], pod) for pod in workload.pods):
                yield "topologySpreadConstraints select labels that its pods do not have"
        if workload.pod.get("enableServiceLinks") is not False:
            yield "enableServiceLinks is not false: Kubernetes would set variables that look like settings"

    def _security(self, workload: Workload) -> Iterator[str]:
        context = workload.pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield "it must run as non-root, with the runtime's default seccomp profile"
        if workload.pod.get("automountServiceAccountToken") is not False:
            yield "automountServiceAccountToken is not false: it needs no access to the cluster"
        for key in IDS:
            if not isinstance(context.get(key), int) or not 1 <= context[key] < 2**31:
                yield f"{key} {context.get(key)} is not the id of a user or group other than root"
        for container in workload.containers:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("readOnlyRootFilesystem") is not True:
                yield f"container {container['name']} may gain privileges, or write to its root file system"
            if "ALL" not in own.get("capabilities", {}).get("drop", []):
                yield f"container {container['name']} keeps capabilities"

    def _volumes(self, workload: Workload) -> Iterator[str]:
        used = {mount["name"] for container in workload.containers for mount in container.get("volumeMounts", [])}
        for volume in workload.pod.get("volumes", []):
            if volume["name"] not in used:
                yield f"volume {volume['name']} is mounted nowhere"
            if secret := volume.get("secret"):
                keys = self.secrets.get(secret["secretName"])
                if keys is None:
                    yield f"there is no Secret {secret['secretName']}"
                for item in secret.get("items", []):
                    if keys is not None and item["key"] not in keys:
                        yield f"Secret {secret['secretName']} has no {item['key']}"
                if secret.get("defaultMode", 0o644) & 0o077:
                    yield f"Secret {secret['secretName']} would be readable by every user: set defaultMode 0400"
            if (size := volume.get("emptyDir", {}).get("sizeLimit")) is not None and amount(size) is None:
                yield f"volume {volume['name']}: {size} is not a quantity"

    def _references(self, workload: Workload) -> Iterator[str]:
        for claim in workload.it["spec"].get("volumeClaimTemplates", []):
            size = claim["spec"]["resources"]["requests"]["storage"]
            if (amount(size) or 0) < FACTORS["Mi"]:
                yield f"claim {claim['metadata']['name']}: {size} is not a quantity of at least 1 MiB"
        grace_s = workload.pod.get("terminationGracePeriodSeconds", 30)
        for container in workload.containers:
            drain = next((env.get("value") for env in container.get("env", []) if env["name"] == "GATEWAY_DRAIN_S"), None)
            if drain is not None and grace_s < float(drain) + DRAIN_MARGIN_S:
                yield f"it is killed after {grace_s} s, but may drain for {drain} s: it needs {DRAIN_MARGIN_S} s more than that"

    # --- a container --------------------------------------------------------------------------------------------------

    def _container(self, workload: Workload, container: Object) -> Iterator[str]:
        _, _, tag = container["image"].rpartition("/")[2].partition(":")
        if tag in ("", "latest"):
            yield f"image {container['image']} names no version"
        ports = container.get("ports", [])
        for what in ("name", "containerPort"):
            yield from (
                f"port {port} is listed {n} times" for port, n in Counter(port.get(what) for port in ports).items() if n > 1
            )
        for port in ports:
            if len(port.get("name", "")) > 15 or not 1 <= port["containerPort"] <= 65535:
                yield f"port {port.get('name')} {port['containerPort']} is not valid"
        values = {env["name"]: env.get("value") for env in container.get("env", [])}
        for name, port_name in OUR_PORTS.items():
            if name in values and str(workload.ports.get(port_name)) != values[name]:
                yield f"{name} is {values[name]}, and port {port_name} is {workload.ports.get(port_name)}"

    def _resources(self, container: Object) -> Iterator[str]:
        given = container.get("resources", {})
        for kind in ("requests", "limits"):
            for name, text in given.get(kind, {}).items():
                if amount(text) is None:
                    yield f"{kind} {name}: {text} is not a quantity"
                elif name == "memory" and (amount(text) or 0) < FACTORS["Mi"]:
                    yield f"{kind} {name}: {text} is less than 1 MiB"
        for name, text in given.get("limits", {}).items():
            asked, most = amount(given.get("requests", {}).get(name, 0)), amount(text)
            if asked is not None and most is not None and asked > most:
                yield f"it requests more {name} than its limit"
        if "memory" not in given.get("limits", {}) or not {"cpu", "memory"} <= given.get("requests", {}).keys():
            yield "it must request cpu and memory, and must have a memory limit"
        if "cpu" in given.get("limits", {}):
            yield "a cpu limit would delay speech"

    def _probes(self, workload: Workload, container: Object) -> Iterator[str]:
        if container in workload.pod.get("initContainers", []):
            return
        for name in PROBES:
            if (probe := container.get(name)) is None:
                yield f"it has no {name}"
                continue
            how = probe.get("httpGet") or probe.get("tcpSocket") or {}
            if how.get("port") not in workload.ports:
                yield f"its {name} asks port {how.get('port')}, which it does not have"
            if "httpGet" in probe and how.get("path") != ("/readyz" if name == "readinessProbe" else "/livez"):
                yield f"its {name} asks {how.get('path')}: a draining gateway is live but not ready"
            if name == "startupProbe" and probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) < START_S:
                yield f"it has less than {START_S} s to start"

    def _environment(self, workload: Workload, container: Object) -> Iterator[str]:
        known: set[str] = set()
        for env in container.get("env", []):
            name, value = env["name"], str(env.get("value", ""))
            if OURS.match(name) and name not in VARIABLES:
                yield f"{name} is a variable that no program reads"
            if name in known:
                yield f"{name} is set twice"
            for used in re.findall(r"\$\(([^)]*)\)", value):
                if used not in known:
                    yield f"{name} uses $({used}), which is not set before it"
            if value.startswith("/") and name != "REACHY_KEYS_DIR" and not self._is_there(workload, container, Path(value)):
                yield f"{name}: {value} is in no mounted volume"
            known.add(name)
            if path := env.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath"):
                label = re.fullmatch(r"metadata\.labels\['(.*)'\]", path)
                fields = ("metadata.name", "metadata.namespace", "status.hostIP", "status.podIP", "spec.nodeName")
                if path not in fields and not (label and label[1] == "apps.kubernetes.io/pod-index"):
                    yield f"{name}: {path} is not a field of a pod"

    def _is_there(self, workload: Workload, container: Object, path: Path) -> bool:
        """Whether a volume is mounted at this path. For a Secret: whether it has the file."""
        for mount in container.get("volumeMounts", []):
            at = Path(mount["mountPath"])
            if path != at and at not in path.parents:
                continue
            volume: Object = next((it for it in workload.pod.get("volumes", []) if it["name"] == mount["name"]), {})
            if not (secret := volume.get("secret")) or path == at:
                return True
            items = secret.get("items", [{"path": key} for key in self.secrets.get(secret["secretName"], ())])
            return str(path.relative_to(at)) in [item["path"] for item in items]
        return False

    def _mounts(self, workload: Workload, container: Object) -> Iterator[str]:
        volumes = [volume["name"] for volume in workload.pod.get("volumes", [])]
        volumes += [claim["metadata"]["name"] for claim in workload.it["spec"].get("volumeClaimTemplates", [])]
        places = Counter(mount["mountPath"] for mount in container.get("volumeMounts", []))
        yield from (f"{place} is mounted {n} times" for place, n in places.items() if n > 1)
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"it mounts {mount['name']}, which is not a volume"
            if not mount["mountPath"].startswith("/"):
                yield f"{mount['mountPath']} is not an absolute path"


def read(paths: Iterable[Path]) -> list[Object]:
    """All objects of some files.

    Raises:
            yaml.YAMLError: If a file is not YAML.
    """
    return [each for path in paths for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def secrets(folder: Path) -> list[Object]:
    """Run ``deploy/make-secrets`` in an empty folder. Returns the Secrets that it prints.

    Raises:
            subprocess.CalledProcessError: If the script fails.
    """
    (folder / "gemini-api-key").write_text("a-key-for-a-test", encoding="utf-8")
    command = [str(ROOT / "deploy" / "make-secrets"), "--kubernetes"]
    done = subprocess.run(
        command, env={"SECRETS": str(folder), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def main() -> int:
    """Print a line for each problem. Returns exit status 1 if there is one."""
    paths = [Path(text) for text in sys.argv[1:]] or sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    with tempfile.TemporaryDirectory() as folder:
        objects = [*read(paths), *secrets(Path(folder))]
    problems = [*Manifests(objects).problems(), *schema_problems(objects)]
    for words in problems:
        print(words)
    print(f"{len(objects)} objects, Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
