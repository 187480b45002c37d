"""The architecture's rules: who imports whom, and what a module that decides may know."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {path.name: path for path in [*ROOT.glob("shared/*/src/*"), *ROOT.glob("services/*/src/*")] if path.is_dir()}
OURS = {"reachy_link", "reachy_gateway", "robot_io", "gemini_gateway", "mock_gateway", "gemini_live_sim"}

MAY_IMPORT_OF_OURS = {
    "reachy_link": set(),
    "reachy_gateway": {"reachy_link"},
    "robot_io": {"reachy_link"},
    "gemini_gateway": {"reachy_link", "reachy_gateway"},
    "mock_gateway": {"reachy_link", "reachy_gateway"},
    "gemini_live_sim": set(),
}
NEVER = {
    "reachy_link": {"soxr", "google", "reachy_mini", "prometheus_client"},
    "reachy_gateway": {"google", "reachy_mini"},
    "robot_io": {"google", "soxr", "prometheus_client"},
    "gemini_gateway": {"reachy_mini"},
    "mock_gateway": {"google", "reachy_mini"},
    "gemini_live_sim": {"google", "reachy_mini"},
}
ONLY_IN = {("reachy_mini", "robot_io"): {"reachy_device"}, ("google", "gemini_gateway"): {"live"}}
PURE = {
    "reachy_link": {"address", "bucket", "clock", "messages", "pcm", "playout", "pulse", "tally", "trouble", "window", "wire"},
    "reachy_gateway": {
        "audio",
        "conversation",
        "latency",
        "limits",
        "numbers",
        "pacer",
        "peer",
        "speech_gate",
        "turns",
        "voice",
    },
    "robot_io": {"core", "device", "route", "sounds"},
    "gemini_gateway": {
        "events",
        "exchanges",
        "gaps",
        "meter",
        "models",
        "outage",
        "personas",
        "pieces",
        "refusals",
        "session",
        "shortcut",
        "usage",
    },
}
IMPURE = {"zmq", "asyncio", "time", "socket", "threading", "os", "random", "secrets", "logging"}


def modules(package: str) -> Iterator[tuple[str, set[str]]]:
    """Each module of a package, with everything it imports, wherever in the file: full names and their first parts."""
    for path in sorted(PACKAGES[package].rglob("*.py")):
        names = set(imported(ast.parse(path.read_text())))
        yield path.stem, names | {name.partition(".")[0] for name in names}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def test_every_package_is_covered():
    assert PACKAGES.keys() == OURS == MAY_IMPORT_OF_OURS.keys() == NEVER.keys()


@pytest.mark.parametrize("package", sorted(OURS))
def test_a_package_imports_only_what_it_may(package):
    for module, names in modules(package):
        foreign = (names & OURS) - MAY_IMPORT_OF_OURS[package] - {package}
        assert not foreign, f"{package}.{module} imports {foreign}"
        assert not names & NEVER[package], f"{package}.{module} imports {names & NEVER[package]}"


@pytest.mark.parametrize(("library", "package"), sorted(ONLY_IN))
def test_an_sdk_is_known_to_its_module_alone(library, package):
    assert {module for module, names in modules(package) if library in names} <= ONLY_IN[library, package]


@pytest.mark.parametrize("package", sorted(PURE))
def test_a_module_that_decides_knows_no_socket_no_task_and_no_clock(package):
    """Nor does anything of ours that it imports."""
    pure = {f"{name}.{module}" for name, modules_of in PURE.items() for module in modules_of}
    found = {module: names for module, names in modules(package) if module in PURE[package]}
    assert found.keys() == PURE[package], "every module named here exists"
    for module, names in found.items():
        assert not names & IMPURE, f"{package}.{module} imports {names & IMPURE}"
        ours = {name for name in names if name.partition(".")[0] in OURS and "." in name}
        assert ours <= pure, f"{package}.{module} imports {ours - pure}"
