"""The architecture's rules: who imports whom, and what a module that decides may know."""

import ast
import os
import re
import subprocess
import sys
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
    "reachy_link": {
        "address",
        "bucket",
        "clock",
        "environment",
        "messages",
        "pcm",
        "playout",
        "pulse",
        "tally",
        "text",
        "trouble",
        "window",
        "wire",
    },
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
        "crowding",
        "events",
        "exchanges",
        "gaps",
        "hurry",
        "meter",
        "models",
        "outage",
        "pieces",
        "proxy",
        "refusals",
        "session",
        "usage",
    },
}
IMPURE = {"zmq", "asyncio", "time", "socket", "threading", "os", "random", "secrets", "logging"}
IMPURE |= {"concurrent", "fcntl", "http", "pathlib", "queue", "select", "shutil", "signal", "sqlite3", "ssl", "subprocess"}
IMPURE |= {"tempfile", "urllib.request", "uvloop", "websockets"}
BROAD = {("reachy_device", "Exception"): 1, ("logs", "Exception"): 1}
"""Excepts that take whatever is raised: a thread's end, a value that no log line can hold. The hub's is a class."""


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


def row(package: str) -> list[str]:
    """The package's row of the document's table of pure modules, by column."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    _, table = text.split("| Package | Pure modules | Rim |\n")
    [found] = [line for line in table.split("\n\n")[0].splitlines() if line.startswith(f"| `{package}` |")]
    return found.split("|")


@pytest.mark.parametrize("package", sorted(PURE))
def test_the_document_lists_the_pure_modules_that_are_tested_and_no_others(package):
    _, _, pure, rim, _ = row(package)
    assert set(re.findall(r"`(\w+)`", pure)) == PURE[package]
    assert not set(re.findall(r"`(\w+)`", rim)) & PURE[package]


def broad(tree: ast.AST) -> Iterator[str]:
    """What a module's excepts take that take nearly everything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"everything"}
            yield from names & {"Exception", "BaseException", "everything"}


def test_a_broad_except_is_where_the_document_says():
    found: dict[tuple[str, str], int] = {}
    for package in sorted(OURS):
        for path in PACKAGES[package].rglob("*.py"):
            for name in broad(ast.parse(path.read_text())):
                found[path.stem, name] = found.get((path.stem, name), 0) + 1
    assert found == BROAD


def public_names(tree: ast.AST) -> Iterator[str]:
    """Methods, properties and functions that anybody may call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name


CALLED_BY_OTHERS = {"handle_error", "do_GET", "log_message"}
"""Names that a library calls."""


def test_nothing_is_defined_that_only_tests_use():
    """What is public is named somewhere else in the sources, benchmarks or tools, or has a decorator that a library reads."""
    sources = [path for package in OURS - {"gemini_live_sim"} for path in PACKAGES[package].rglob("*.py")]
    users = [*sources, *PACKAGES["gemini_live_sim"].rglob("*.py"), *ROOT.glob("bench/*.py"), *ROOT.glob("tools/*.py")]
    words = re.findall(r"\w+", "\n".join(path.read_text() for path in users))
    count = {name: words.count(name) for path in sources for name in public_names(ast.parse(path.read_text()))}
    assert sorted(name for name, n in count.items() if n < 2 and name not in CALLED_BY_OTHERS) == []


def test_no_branch_is_for_a_system_on_which_no_gateway_starts():
    """A gateway counts descriptors and reads sockets' counters as Linux and its like have them."""
    sources = [path for package in OURS for path in PACKAGES[package].rglob("*.py")]
    assert [path.name for path in [*sources, *ROOT.glob("*/*/pyproject.toml")] if "win32" in path.read_text()] == []


def text_without_encoding(tree: ast.AST) -> Iterator[int]:
    """The lines that read or write text in whatever encoding the machine has."""
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in awaited or any(word.arg == "encoding" for word in node.keywords):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        )
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in ("open", "fdopen"):
            places = node.args if isinstance(node.func, ast.Attribute) and name == "open" else node.args[1:]
            given = words.get("mode", ast.unparse(places[0]) if places else "'r'")
            if re.fullmatch(r"'[rwax+t]+'", given):
                yield node.lineno
        elif name in ("read_text", "write_text") or (name in ("run", "Popen", "check_output") and words.get("text") == "True"):
            yield node.lineno


def test_the_rule_for_text_finds_what_it_is_for():
    found = "open(p)", "open(p, 'w')", "p.open()", "p.open('a')", "os.fdopen(3, 'w')", "p.read_text()", "run(c, text=True)"
    fine = "open(p, 'rb')", "p.open('wb')", "wave.open(f, 'rb')", "p.read_text(encoding='utf-8')", "os.fdopen(3, 'wb')"
    assert [text for text in found if not list(text_without_encoding(ast.parse(text)))] == []
    assert [text for text in fine if list(text_without_encoding(ast.parse(text)))] == []


@pytest.mark.parametrize("package", sorted(OURS))
def test_text_is_read_and_written_in_an_encoding_that_is_named(package):
    """Else a file means one thing on this machine, and another in a container whose locale is not UTF-8."""
    for path in sorted(PACKAGES[package].rglob("*.py")):
        lines = list(text_without_encoding(ast.parse(path.read_text(encoding="utf-8"))))
        assert not lines, f"{path}: lines {lines}"


@pytest.mark.parametrize("package", sorted(OURS))
def test_every_package_says_how_many_threads_numpy_makes_before_it_is_imported(package):
    """On a host of many cores they are more than a container may have: the process ended at the import."""
    code = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy': print('numpy', os.environ.get('OPENBLAS_NUM_THREADS'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import {package}\n"
        "print(os.environ.get('OPENBLAS_NUM_THREADS'))\n"
        "import numpy\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}

    def told(**more: str) -> list[str]:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=env | more, capture_output=True, text=True, timeout=30, check=True).stdout.split()

    assert sorted(told()) == ["1", "1", "numpy"]
    assert sorted(told(OPENBLAS_NUM_THREADS="2")) == ["2", "2", "numpy"], "what is set stays"


def test_every_clone_has_the_same_line_ends():
    """Whatever its ``core.autocrlf``: a script that ends its lines in CRLF does not run, in an image or out of it."""
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = [line.partition("\t")[0].split(maxsplit=2) for line in listed.splitlines()]
    assert len(rows) > 300
    assert {attributes.strip() for _, _, attributes in rows} <= {"attr/text=auto eol=lf", "attr/-text"}
    assert {index for index, _, attributes in rows if "eol=lf" in attributes} <= {"i/lf", "i/none"}
