"""The console as a program: its link, its secret, TLS with a user's own certificate, and its end."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ports import free_ports
from rig import Keys

from gemini_live_sim import tls

BIN = Path(sys.executable).parent


def environment(settings: dict[str, object]) -> dict[str, str]:
    """An environment of these settings, and none of the caller's."""
    foreign = ("ROBOT_", "GATEWAY_", "GEMINI_", "GOOGLE_", "REACHY_", "SIM_", "CONSOLE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return clean | {name: str(value) for name, value in settings.items()}


def certificate(folder: Path) -> dict[str, object]:
    """A user's own certificate for localhost, and its root."""
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = tls._root(root_key)
    leaf = tls._leaf(leaf_key, root, root_key, ["localhost", "127.0.0.1"])
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "cert.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {"CONSOLE_TLS_CERT": folder / "cert.pem", "CONSOLE_TLS_KEY": folder / "key.pem", "CONSOLE_NAMES": "localhost"}


@contextmanager
def running(tmp_path: Path, **more: object):
    """Run a console. Yields its settings, the code of the link in its log, and the process."""
    made = Keys(tmp_path / "keys", "browser-1")
    robots = tmp_path / "robots"
    robots.mkdir()
    made.robot_dir("browser-1").rename(robots / "browser-1")
    (port,) = free_ports(1)
    settings = {"CONSOLE_PORT": port, "CONSOLE_STATE_DIR": tmp_path / "state", "REACHY_KEYS_DIR": robots} | more
    process = subprocess.Popen([BIN / "reachy-console"], env=environment(settings), stderr=subprocess.PIPE, text=True)
    try:
        while not (found := re.search(r"(https?)://\S+:\d+/#(\S+)", process.stderr.readline())):
            assert process.poll() is None
        yield settings, found.groups(), process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_link_lets_in_and_a_command_makes_another(tmp_path):
    with running(tmp_path) as (settings, (_, code), process):
        told = subprocess.run(
            [BIN / "reachy-console", "link", "--viewer"], env=environment(settings), capture_output=True, text=True, check=True
        )
        viewer = re.fullmatch(rf"http://127.0.0.1:{settings['CONSOLE_PORT']}/#(\S+)\n", told.stdout)[1]
        for shown, role in ((code, "operator"), (viewer, "viewer")):
            status, headers, _ = asked(settings, "POST", "/login", shown)
            assert status == 204
            assert asked(settings, "POST", "/login", shown)[0] == 403, "a link must work only once"
            cookie = headers["set-cookie"].partition(";")[0]
            assert json.loads(asked(settings, "GET", "/me", None, None, {"Cookie": cookie})[2]) == {"role": role}
        secret = tmp_path / "state" / "link-secret"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        told = process.stderr.read()
        assert "Traceback" not in told
        assert secret.read_text() not in told


def test_with_a_certificate_of_ones_own_it_is_served_to_others(tmp_path):
    with running(tmp_path, CONSOLE_HOST="0.0.0.0", **certificate(tmp_path)) as (settings, (scheme, code), _):
        assert scheme == "https"
        trusting = ssl.create_default_context(cafile=tmp_path / "root.pem")
        status, headers, _ = asked(settings, "POST", "/login", code, trusting)
        assert status == 204
        assert headers["set-cookie"].startswith(f"__Host-reachy-console-{settings['CONSOLE_PORT']}=")
        assert "secure" in headers["set-cookie"].lower()
        cookie = headers["set-cookie"].partition(";")[0]
        status, _, told = asked(settings, "GET", "/me", None, trusting, {"Cookie": cookie})
        assert (status, json.loads(told)) == (200, {"role": "operator"})
        link = [BIN / "reachy-console", "link"]
        again = subprocess.run(link, env=environment(settings), capture_output=True, text=True, check=True).stdout
        assert again.startswith(f"https://localhost:{settings['CONSOLE_PORT']}/#")


def test_where_no_console_runs_no_link_is_made_up(tmp_path):
    link = [BIN / "reachy-console", "link"]
    done = subprocess.run(link, env=environment({"CONSOLE_STATE_DIR": tmp_path}), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no answer from a console on port" in done.stderr


@pytest.mark.parametrize("broken", ["cert.pem", "key.pem"])
def test_a_certificate_that_is_none_is_one_line(tmp_path, broken):
    settings = certificate(tmp_path)
    (tmp_path / broken).write_text("nonsense")
    status, words = told_at_start(tmp_path, **settings)
    assert status == 2
    assert "CONSOLE_TLS_CERT, CONSOLE_TLS_KEY: they do not fit together, or are no PEM files" in words


def told_at_start(tmp_path, **settings):
    """The exit status, and what the console says, if it cannot start."""
    Keys(tmp_path / "robots").robot("browser-1")
    (tmp_path / "robots" / "gateway").rename(tmp_path / "gateway")
    where = {"REACHY_KEYS_DIR": tmp_path / "robots", "CONSOLE_STATE_DIR": tmp_path / "state"}
    done = subprocess.run(
        [BIN / "reachy-console"], env=environment(where | settings), capture_output=True, text=True, check=False, timeout=30
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_port_that_is_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, words = told_at_start(tmp_path, CONSOLE_PORT=port)
    assert status == 2
    assert f"CONSOLE_HOST, CONSOLE_PORT: cannot listen on 127.0.0.1, port {port}" in words


def test_a_folder_of_keys_that_is_missing_is_told_with_the_command_that_makes_it(tmp_path):
    status, words = told_at_start(tmp_path, REACHY_KEYS_DIR=tmp_path / "nowhere")
    assert status == 2
    assert "reachy-keys console FOLDER console browser-1" in words


def asked(settings, method, path, body=None, context=None, headers=None):
    port = int(settings["CONSOLE_PORT"])
    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
    connection = kind("localhost", port, timeout=5, **({"context": context} if context else {}))
    try:
        origin = {"Origin": f"{'https' if context else 'http'}://localhost:{port}"}
        connection.request(method, path, body, origin | (headers or {}))
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()
