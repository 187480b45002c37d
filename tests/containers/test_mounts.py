"""The images with secrets as Kubernetes mounts them: root's, mode 0440, behind links, in a sticky folder open to all users."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from manifests import read, secrets
from ports import free_ports

ROOT = Path(__file__).parent.parent.parent
GROUP = 10001
HARDENED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp", "--user=10001:10001"]

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("clone"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others"),
]


@pytest.fixture
def made(tmp_path):
    """The Secrets, by name."""
    (tmp_path / "made").mkdir()
    return {each["metadata"]["name"]: each["data"] for each in secrets(tmp_path / "made")}


def mounted(folder: Path, made: Path, items: dict[str, str], mode: int = 0o440) -> Path:
    """A Secret as the kubelet mounts it: each path is a link into ``..data``, which is a link to the newest version."""
    newest = folder / "..2026_12_01"
    for path, of in items.items():
        (newest / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made / of, newest / path)
        os.chown(newest / path, 0, GROUP)
        (newest / path).chmod(mode)
        top = path.partition("/")[0]
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")
    for place in [newest, *newest.rglob("*/")]:
        os.chown(place, 0, GROUP)
        place.chmod(0o2755)
    (folder / "..data").symlink_to(newest.name)
    folder.chmod(0o3777)
    return folder


@contextmanager
def running(image: str, *options: str):
    command = ["docker", "run", "--detach", *HARDENED, *options, f"reachy-link/{image}"]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield name
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=False, capture_output=True)


def logs(name: str) -> str:
    done = subprocess.run(["docker", "logs", name], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def until(condition, name: str, timeout_s: float = 40.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, logs(name)
        subprocess.run(["docker", "events", "--since", "0s", "--until", "0.2s"], capture_output=True, check=False)
    return found


def probed(port: int, path: str) -> int:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=3).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def container_of(kind: str, file: str) -> dict:
    """The pod of a manifest."""
    [workload] = [each for each in read([ROOT / "deploy" / "kubernetes" / file]) if each["kind"] == kind]
    return workload["spec"]["template"]["spec"]


def items_of(pod: dict, volume: str, made: Path) -> dict[str, str]:
    """Which file of the made folder is mounted where, from the manifest."""
    [secret] = [each["secret"] for each in pod["volumes"] if each["name"] == volume]
    script = (ROOT / "deploy" / "make-secrets").read_text().replace("\\\n", " ")
    [line] = [line for line in script.splitlines() if line.startswith(f"secret {secret['secretName']} ")]
    of = dict(item.split("=") for item in line.split()[2:])
    assert all((made / path).is_file() for path in of.values())
    return {item["path"]: of[item["key"]] for item in secret["items"]}


def test_a_gateway_takes_its_key_as_kubernetes_mounts_it_and_keeps_who_is_admitted(tmp_path, made):
    pod = container_of("StatefulSet", "gateway.yaml")
    folder = mounted(tmp_path / "secret", tmp_path / "made", items_of(pod, "key", tmp_path / "made"))
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 0, GROUP)
    volume.chmod(0o2777)
    [health] = free_ports(1)
    options = [f"--volume={folder}:/secret/gateway:ro", f"--volume={volume}:/data", f"--publish=127.0.0.1:{health}:8080"]
    settings = {"REACHY_KEYS_DIR": "/data/keys", "GATEWAY_KEYS_FROM": "/secret/gateway", "REACHY_HEALTH_HOST": "*"}
    settings |= {"GATEWAY_LEDGER": "/data/ledger.sqlite", "GEMINI_API_KEY": "none", "GATEWAY_ADMIN_PORT": "5559"}
    options += [f"--env={name}={value}" for name, value in settings.items()]
    for start in (1, 2):
        with running("gemini-gateway", *options) as name:
            until(lambda: probed(health, "readyz") == 200, name)
            assert probed(health, "livez") == 200
            listed = ["docker", "exec", name, "reachy-keys", "list"]
            told = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
            assert "browser-1" in told
            assert "operator\tconsole" in told
            robot = "robot-of-mine"
            assert (robot in told) == (start == 2)
            if start == 1:
                admit = ["docker", "exec", name, "reachy-keys", "admit", robot, "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"]
                subprocess.run(admit, check=True, capture_output=True)
            assert "Traceback" not in logs(name)
        for path in (volume / "keys", volume / "keys" / "admitted"):  # the kubelet does this before the next start
            path.chmod(0o2775)


@pytest.mark.parametrize("mode", [0o444, 0o460])
def test_a_key_that_others_may_read_or_its_group_may_change_is_refused(tmp_path, made, mode):
    pod = container_of("StatefulSet", "gateway.yaml")
    folder = mounted(tmp_path / "secret", tmp_path / "made", items_of(pod, "key", tmp_path / "made"), mode)
    options = [f"--volume={folder}:/secret/gateway:ro", "--tmpfs=/data:uid=10001,mode=700"]
    options += ["--env=REACHY_KEYS_DIR=/data/keys", "--env=GATEWAY_KEYS_FROM=/secret/gateway"]
    with running("gemini-gateway", *options) as name:
        until(lambda: "configuration: " in logs(name), name)
        assert f"has mode {mode:03o}, so others can read it" in logs(name)


def test_the_page_takes_its_keys_as_kubernetes_mounts_them(tmp_path, made):
    pod = container_of("Deployment", "console.yaml")
    folder = mounted(tmp_path / "secret", tmp_path / "made", items_of(pod, "keys", tmp_path / "made"))
    [health] = free_ports(1)
    settings = {env["name"]: env["value"] for env in pod["containers"][0]["env"]}
    options = [f"--volume={folder}:/secret/console:ro", f"--publish=127.0.0.1:{health}:8080"]
    options += [f"--env={name}={value}" for name, value in settings.items()]
    with running("console", *options) as name:
        until(lambda: probed(health, "readyz") == 200, name)
        link = until(lambda: "http://127.0.0.1:8090/#" in logs(name), name)
        assert link


def test_a_swarm_reads_the_stack_file(tmp_path):
    files = [word for file in ("swarm.yml", "swarm-prometheus.yml") for word in ("-c", ROOT / "deploy" / file)]
    done = subprocess.run(["docker", "stack", "config", *files], check=True, capture_output=True, text=True)
    assert "gemini-gateway" in done.stdout
    assert not done.stderr, json.dumps(done.stderr)
