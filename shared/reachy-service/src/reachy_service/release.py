"""The release: every program of Reachy Link has the version of ``reachy-link``, which all of them install."""

from importlib.metadata import version


def software(program: str) -> str:
    """The program's name and the release, as ``robot-io 0.2.0``: the other end and the log show it."""
    return f"{program} {version('reachy-link')}"
