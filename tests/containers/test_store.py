"""Debian's Valkey in a container, with TLS, and with a user that may do only what gateways do."""

import asyncio
import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ports import free_ports

from reachy_gateway.fleet.place import parse
from reachy_gateway.fleet.port import Entry, StoreError, Versioned
from reachy_gateway.fleet.valkey import Valkey
from reachy_service.keys_cli import main as reachy_keys

TOOLS = Path(__file__).parent.parent.parent / "tools"


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    until = now + timedelta(days=1)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, until)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return path


@contextmanager
def store(folder: Path):
    """Run a store with TLS. Yields its URL and certificate."""
    subprocess.run([TOOLS / "valkey-image"], check=True, capture_output=True)
    root = certificate(folder, "store")
    [port] = free_ports(1)
    assert reachy_keys(["store", str(folder), f"rediss://127.0.0.1:{port}"]) == 0
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    command = [
        "docker",
        "run",
        "--rm",
        "--detach",
        "--read-only",
        "--cap-drop=ALL",
        "--user=999:1000",
        f"--volume={folder}:/store:ro",
    ]
    command += [f"--publish=127.0.0.1:{port}:6379", "--tmpfs=/data:uid=999", "valkey/valkey:8", "valkey-server"]
    command += ["--aclfile", "/store/users.acl", "--dir", "/data", "--port", "0", "--tls-port", "6379"]
    command += ["--tls-cert-file", "/store/store.pem", "--tls-key-file", "/store/store.key", "--tls-auth-clients", "no"]
    command += ["--maxmemory-policy", "noeviction", "--appendonly", "yes"]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield (folder / "url").read_text().strip(), root
    finally:
        subprocess.run(["docker", "kill", made], check=False, capture_output=True)


@pytest.mark.timeout(120)
async def test_a_gateway_reaches_its_store_by_tls_and_may_do_there_what_it_does_and_nothing_else(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    with store(folder) as (url, root):
        valkey = Valkey(parse(url, root_cert=str(root)), "fleet")
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await valkey.read("reachy-1") is None
                except StoreError:
                    await asyncio.sleep(0.05)
                else:
                    break
        assert await valkey.swap("reachy-1", "", Entry("t", "o", b"sealed"), None) == 0
        assert (await valkey.read("reachy-1")).sealed == b"sealed"
        await valkey.put("admitted", {"k": Versioned(1, b"word")})
        assert await valkey.newest("admitted") == {"k": Versioned(1, b"word")}
        letters = valkey.letters("inbox")
        assert await anext(letters) == ("", b"")
        await letters.aclose()
        await valkey.close()

        place = parse(url, root_cert=str(root))
        more = {"ssl": True, "ssl_ca_certs": str(root), "socket_timeout": 2}
        with redis.Redis(place.host, place.port, username=place.user, password=place.password, **more) as client:
            forbidden = "FLUSHALL", "KEYS *", "CONFIG GET maxmemory", "GET other", "SHUTDOWN", "ACL LIST", "EVAL x 0", "SAVE"
            for command in forbidden:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command.split())
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.hset("of-somebody-else", "a", "b")
        with redis.Redis(place.host, place.port, **more) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
            stranger.ping()

        other = Valkey(parse(url, root_cert=str(certificate(folder, "another"))), "fleet")
        with pytest.raises(StoreError, match="certificate verify failed"):
            await other.read("reachy-1")
        await other.close()
