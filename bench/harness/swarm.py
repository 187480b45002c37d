"""A real Docker Swarm of two nodes on one machine; each node's wire can be cut. Needs root, docker.io and iproute2.

Each node is an engine with its own network namespace and host name. The robots are in a third namespace, the lab. The
addresses are 10.99.0.1 (box-1, the manager), 10.99.0.2 (box-2) and 10.99.0.3 (the lab). No route leads out.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import yaml

ROOT: Final = Path(__file__).parent.parent.parent
NODES: Final = (1, 2)
LAB_IP: Final = "10.99.0.3"
SIM_PORT: Final = 8765
START_S: Final = 60.0
OURS: Final = ("reachy-link/gemini-gateway", "reachy-link/console")
IMAGES: Final = (*(f"localhost/{image}:latest" for image in OURS), "valkey/valkey:8")
STACK: Final = "reachy"


def name(node: int) -> str:
    """A node's host name."""
    return f"box-{node}"


def ip(node: int) -> str:
    """A node's address."""
    return f"10.99.0.{node}"


def run(*command: object, check: bool = True, **more: Any) -> str:
    """Run a command. Returns what it prints.

    Raises:
        RuntimeError: If the command fails; the message has its error output.
    """
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **more)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return str(done.stdout).strip()


class TwoNodes:
    """The Swarm, from start to end.

    Args:
        work: A folder for the engines' data.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self._engines: list[subprocess.Popen[bytes]] = []

    def docker(self, node: int, *command: object, check: bool = True) -> str:
        """Run a docker command on a node's engine. Returns its output.

        Raises:
            RuntimeError: If the command fails.
        """
        return run("docker", "--host", f"unix://{self.work}/engine-{node}.sock", *command, check=check)

    def manager(self, *command: object) -> str:
        """Run a docker command on the Swarm's manager. Returns its output.

        Raises:
            RuntimeError: If the command fails.
        """
        return self.docker(1, *command)

    def __enter__(self) -> Self:
        self._lay()
        for node in NODES:
            self._start(node)
        self.manager("swarm", "init", "--advertise-addr", ip(1), "--listen-addr", ip(1))
        token = self.manager("swarm", "join-token", "--quiet", "worker")
        self.docker(2, "swarm", "join", "--token", token, "--advertise-addr", ip(2), f"{ip(1)}:2377")
        for image in OURS:
            run("docker", "tag", image, f"localhost/{image}")
        archive = self.work / "images.tar"
        run("docker", "save", "--output", archive, *IMAGES)
        for node in NODES:
            self.docker(node, "load", "--quiet", "--input", archive)
        archive.unlink()
        return self

    def _lay(self) -> None:
        """Make three namespaces, and a bridge in the third."""
        self._sweep()
        for space in ("rl-1", "rl-2", "rl-lab"):
            run("ip", "netns", "add", space)
            run("ip", "-n", space, "link", "set", "lo", "up")
        run("ip", "-n", "rl-lab", "link", "add", "br0", "type", "bridge")
        run("ip", "-n", "rl-lab", "address", "add", f"{LAB_IP}/24", "dev", "br0")
        run("ip", "-n", "rl-lab", "link", "set", "br0", "up")
        for node in NODES:
            run(
                "ip",
                "link",
                "add",
                f"wire{node}",
                "netns",
                f"rl-{node}",
                "type",
                "veth",
                "peer",
                "name",
                f"port{node}",
                "netns",
                "rl-lab",
            )
            run("ip", "-n", f"rl-{node}", "address", "add", f"{ip(node)}/24", "dev", f"wire{node}")
            run("ip", "-n", f"rl-{node}", "link", "set", f"wire{node}", "up")
            run("ip", "-n", "rl-lab", "link", "set", f"port{node}", "master", "br0")
            run("ip", "-n", "rl-lab", "link", "set", f"port{node}", "up")

    def _start(self, node: int) -> None:
        """Start an engine. ``ip netns exec`` does not do: it hides the control groups."""
        socket, folder = self.work / f"engine-{node}.sock", self.work / f"engine-{node}"
        options = f"--data-root {folder}/data --exec-root {folder}/exec --host unix://{socket} --pidfile {folder}.pid"
        script = f"hostname {name(node)}; exec dockerd {options}"
        folder.mkdir()
        with (self.work / f"engine-{node}.log").open("wb") as log:
            command = ["nsenter", f"--net=/var/run/netns/rl-{node}", "unshare", "--uts", "sh", "-c", script]
            self._engines.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        until = time.monotonic() + START_S
        while not self.docker(node, "info", "--format", "{{.ServerVersion}}", check=False):
            if time.monotonic() > until:
                raise RuntimeError(f"engine {node} does not start:\n{(self.work / f'engine-{node}.log').read_text()[-3000:]}")
            time.sleep(0.2)

    def in_lab(self, program: Sequence[str]) -> list[str]:
        """The command that runs a Python program in the lab, where the nodes' names resolve."""
        hosts = self.work / "hosts"
        names = (f"{ip(node)} {name(node)}\n" for node in NODES)
        hosts.write_text(f"127.0.0.1 localhost\n{''.join(names)}", encoding="utf-8")
        script = f'mount --bind "{hosts}" /etc/hosts && exec "$@"'
        space = ["nsenter", "--net=/var/run/netns/rl-lab", "unshare", "--mount", "--propagation", "private"]
        return [*space, "sh", "-c", script, "sh", sys.executable, *program]

    def availability(self, node: int, what: str) -> None:
        """Whether tasks may run on a node: ``active`` or ``drain``."""
        self.manager("node", "update", "--availability", what, name(node))

    def may_have_a_gateway(self, node: int, *, yes: bool) -> None:
        """Set or remove the label by which the stack file places gateways."""
        how = ("--label-rm", "reachy.gateway") if yes else ("--label-add", "reachy.gateway=no")
        self.manager("node", "update", *how, name(node))

    def cut(self, node: int) -> None:
        """Cut a node's wire: no packet comes from the node or reaches it."""
        run("ip", "-n", "rl-lab", "link", "set", f"port{node}", "down")

    def heal(self, node: int) -> None:
        """Repair a node's wire."""
        run("ip", "-n", "rl-lab", "link", "set", f"port{node}", "up")

    def deploy(self, *more: Path) -> None:
        """Deploy the stack, with further files. The images are loaded already.

        Raises:
            RuntimeError: If the Swarm refuses the stack.
        """
        files = [word for path in (self.work / "swarm.yml", *more) for word in ("-c", path)]
        self.manager("stack", "deploy", "--resolve-image", "never", *files, STACK)

    def container(self, node: int, service: str) -> str:
        """A service's container on a node; empty if there is none."""
        return self.docker(node, "ps", "--quiet", "--filter", f"name={STACK}_{service}.").partition("\n")[0]

    def logs(self, node: int, service: str) -> str:
        """The log of all of a service's containers on a node."""
        found = self.docker(node, "ps", "--all", "--quiet", "--filter", f"name={STACK}_{service}.").split()
        return "\n".join(
            run("sh", "-c", f"docker --host unix://{self.work}/engine-{node}.sock logs {each} 2>&1") for each in found
        )

    def nodes(self) -> dict[str, str]:
        """Whether each node is ready."""
        lines = self.manager("node", "ls", "--format", "{{json .}}").splitlines()
        return {each["Hostname"]: each["Status"] for each in map(json.loads, lines)}

    def __exit__(self, *_: object) -> None:
        for node in NODES:
            self.heal(node)
        for engine in self._engines:
            engine.send_signal(signal.SIGTERM)
        for engine in self._engines:
            try:
                engine.wait(20)
            except subprocess.TimeoutExpired:
                engine.kill()
        self._sweep()

    def _sweep(self) -> None:
        """Remove mounts and namespaces, also those that an earlier run left."""
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (where := line.split()[1]).startswith(f"{self.work}/"):
                run("umount", "--lazy", where, check=False)
        for space in ("rl-1", "rl-2", "rl-lab"):
            run("ip", "netns", "del", space, check=False)


def _encrypts() -> bool:
    """Whether this kernel has IPsec's ESP, with which a Swarm encrypts a network."""
    what = ["src", ip(1), "dst", ip(2), "proto", "esp", "spi", "1"]
    how = ["mode", "transport", "aead", "rfc4106(gcm(aes))", f"0x{'00' * 20}", "64"]
    done = subprocess.run(["ip", "xfrm", "state", "add", *what, *how], capture_output=True, check=False)
    subprocess.run(["ip", "xfrm", "state", "delete", *what], capture_output=True, check=False)
    return done.returncode == 0


def prepare(work: Path, sim_root: Path, robots_file: Path) -> Path:
    """Write this repository's stack file with this run's secrets, and a second file that puts the simulator in Google's place.

    One more thing changes: the metrics network is not encrypted if the kernel cannot encrypt it.

    Returns:
        The second file, for :meth:`TwoNodes.deploy`.
    """
    stack = yaml.safe_load((ROOT / "deploy" / "swarm.yml").read_text(encoding="utf-8"))
    for secret in stack["secrets"].values():
        secret["file"] = str(work / "secrets" / str(secret["file"]).removeprefix("./secrets/"))
    if not _encrypts():
        del stack["networks"]["metrics"]["driver_opts"]
    (work / "swarm.yml").write_text(yaml.safe_dump(stack, sort_keys=False), encoding="utf-8")
    settings = {
        "GOOGLE_GEMINI_BASE_URL": f"https://{LAB_IP}:{SIM_PORT}",
        "GEMINI_ROOT_CERT": "/sim/root.pem",
        "GATEWAY_ROBOTS_FILE": "/sim/robots.toml",
    }
    configs = [{"source": "sim-root", "target": "/sim/root.pem"}, {"source": "sim-robots", "target": "/sim/robots.toml"}]
    more = {
        "version": stack["version"],
        "services": {"gateway": {"environment": settings, "configs": configs}},
        "configs": {"sim-root": {"file": str(sim_root)}, "sim-robots": {"file": str(robots_file)}},
    }
    (work / "sim.yml").write_text(yaml.safe_dump(more, sort_keys=False), encoding="utf-8")
    return work / "sim.yml"
