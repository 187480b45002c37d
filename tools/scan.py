"""Checks what is shipped, the locked packages and the images that are built here, for known problems. Exit status 1 if any.

``python tools/scan.py`` asks the package index that uv uses, and Debian's servers from within the images. At the end it lists
what it could not check.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
IMAGES = ("gemini-gateway", "mock-gateway", "robot-io", "gemini-live-sim", "console", "robot-io-reachy")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)( ;[^\\\n]*)?", re.MULTILINE)
SHIPPED_USER = "reachy"


class Scan:
    """What the scan found, and what it could not check."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.unchecked: list[str] = []

    def packages(self, files: Sequence[Path]) -> None:
        """Find locked versions that were withdrawn, and print how many are not the newest."""
        locked = [found for file in files for found in PINNED.findall(file.read_text())]
        pinned = {name.lower(): version for name, version, _ in locked}
        print(f"packages: {len(pinned)} in {len(files)} locked sets")
        for file in files:
            done = uv("pip", "compile", "--no-deps", "--universal", "--python-version", "3.11", str(file))
            if done.returncode:
                self.unchecked.append(f"{file.relative_to(ROOT)}: {last_line(done.stderr)}")
            self.findings += [
                f"{file.relative_to(ROOT)}: {line.strip()}" for line in done.stderr.splitlines() if "yanked" in line
            ]
        asked = "\n".join(sorted({f"{name}{marker}" for name, _, marker in locked}))
        done = uv("pip", "compile", "--no-deps", "--universal", "--upgrade", "--python-version", "3.11", "-", text=asked)
        if done.returncode:
            self.unchecked.append(f"newest versions: {last_line(done.stderr)}")
        newest = {name.lower(): version for name, version, _ in PINNED.findall(done.stdout)}
        behind = sorted(name for name, version in newest.items() if name in pinned and pinned[name] != version)
        for name in behind:
            print(f"  {name} {pinned[name]}: the newest for Python 3.11 is {newest[name]}")
        print(f"  {len(newest) - len(behind)} are the newest, {len(behind)} are not")

    def advisories(self, files: Sequence[Path]) -> None:
        """Ask pip-audit, if it is installed and reaches its database."""
        audit = shutil.which("pip-audit", path=f"{BIN}:{os.environ.get('PATH', '')}")
        if audit is None:
            self.unchecked.append("advisories on packages: pip-audit is not installed (uvx pip-audit -r requirements/dev.txt)")
            return
        for file in files:
            done = run(audit, "--no-deps", "--disable-pip", "--requirement", str(file))
            found = [line for line in done.stdout.splitlines() if re.search(r"\b(CVE|GHSA|PYSEC)-", line)]
            self.findings += [f"{file.relative_to(ROOT)}: {line}" for line in found]
            if done.returncode and not found:
                self.unchecked.append(f"advisories for {file.relative_to(ROOT)}: {last_line(done.stderr)}")

    def image(self, name: str) -> None:
        """Find pending security updates, files that raise privileges, files that every user may write, and a wrong user."""
        tag = f"reachy-link/{name}"
        if run("docker", "image", "inspect", tag).returncode:
            self.unchecked.append(f"image {tag}: not built here (docker compose build)")
            return
        print(f"image {tag}")
        inside = ("docker", "run", "--rm", "--user", "0", "--entrypoint", "sh", tag, "-c")
        for what, search in (
            ("sets the user or group id", "-type f -perm /6000"),
            ("may be written by anybody", "-perm -0002 ! -type l ! -perm -1000"),
            ("belongs to the user that runs", f"-user {SHIPPED_USER} ! -type d"),
        ):
            done = run(*inside, f"find / -xdev -path /proc -prune -o -path /dev -prune -o {search} -print")
            self.findings += [f"{tag}: {path} {what}" for path in done.stdout.split()]
            print(f"  {len(done.stdout.split())} files: {what}")
        user = run("docker", "image", "inspect", "--format", "{{.Config.User}}", tag).stdout.strip()
        if user != SHIPPED_USER:
            self.findings.append(f"{tag}: runs as {user or 'root'}")
        done = run(*inside, "apt-get update -qq && apt-get -s -qq upgrade")
        if done.returncode:
            self.unchecked.append(f"{tag}, Debian's updates: {last_line(done.stderr)}")
            return
        pending = [line.removeprefix("Inst ") for line in done.stdout.splitlines() if line.startswith("Inst ")]
        security = [line for line in pending if "security" in line.lower()]
        self.findings += [f"{tag}: a security update is pending: {line}" for line in security]
        print(f"  {len(pending)} Debian updates pending, {len(security)} of them for security")


def run(*command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command. Returns its result, also if it fails or cannot start."""
    try:
        return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def uv(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run uv, the index's ordinary client."""
    return run(str(BIN / "uv"), *arguments, "--no-header", "--no-annotate", text=text)


def last_line(text: str) -> str:
    """The last line of an error output."""
    return (text.strip().splitlines() or ["no answer"])[-1]


def main() -> int:
    """Print what was found and what was not checked."""
    files = sorted([*ROOT.glob("requirements/*.txt"), *ROOT.glob("services/*/requirements*.txt")])
    scan = Scan()
    scan.packages(files)
    scan.advisories(files)
    if run("docker", "info").returncode:
        scan.unchecked.append("images: no Docker engine runs here")
    else:
        for name in IMAGES:
            scan.image(name)
    print(f"\nfindings: {len(scan.findings)}", *scan.findings, sep="\n  ")
    print("\nnot checked:", *(scan.unchecked or ["nothing was left out"]), sep="\n  ")
    return 1 if scan.findings else 0


if __name__ == "__main__":
    sys.exit(main())
