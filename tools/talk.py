"""A robot in the browser on this machine: simulator, gateway and console as three processes, until Ctrl-C."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from demo import BIN, console_keys, free_ports, gateway, listens, start, stop, wait_for

PORT: Final = int(os.environ.get("CONSOLE_PORT", "8090"))


def main() -> int:
    """Serve until Ctrl-C. Returns exit status 0 if a person ended it."""
    if listens(PORT):
        sys.exit(f"talk: port {PORT} is in use; choose another one: CONSOLE_PORT={PORT + 1} make talk")
    with tempfile.TemporaryDirectory(prefix="reachy-link-") as work:
        return serve(Path(work))


def serve(work: Path) -> int:
    """Start the three processes, print the link, and wait."""
    running: list[subprocess.Popen[bytes]] = []
    settings = {"CONSOLE_PORT": PORT, "CONSOLE_STATE_DIR": work / "state", "REACHY_KEYS_DIR": work / "console"}
    try:
        console_keys(work, ["browser-1", "browser-2"])
        (admin,) = free_ports(1)
        up, down, _ = gateway(work, [], running, GATEWAY_ADMIN_PORT=admin)
        settings |= {"CONSOLE_GATEWAY": f"127.0.0.1:{up}+{down}", "CONSOLE_ADMIN": f"127.0.0.1:{admin}"}
        running.append(start("reachy-console", **settings))
        wait_for("the console", lambda: listens(PORT), running)
        environment = os.environ | {name: str(value) for name, value in settings.items()}
        link = subprocess.run([BIN / "reachy-console", "link"], env=environment, capture_output=True, text=True, check=True)
        again = " ".join(f"{name}={settings[name]}" for name in ("CONSOLE_PORT", "CONSOLE_STATE_DIR"))
        print(f"\nTalk to the robot: {link.stdout.strip()}", flush=True)
        print(f"For another link:  {again} {BIN / 'reachy-console'} link\n", flush=True)
        return running[-1].wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(running)


if __name__ == "__main__":
    sys.exit(main())
