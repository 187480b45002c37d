"""The architecture's rules: which package imports which, and what a deciding module may use."""

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
OURS = {
    "reachy_link",
    "reachy_service",
    "reachy_robot",
    "reachy_gateway",
    "robot_io",
    "gemini_gateway",
    "mock_gateway",
    "gemini_live_sim",
    "reachy_console",
}

MAY_IMPORT_OF_OURS = {
    "reachy_link": set(),
    "reachy_service": {"reachy_link"},
    "reachy_robot": {"reachy_link", "reachy_service"},
    "reachy_gateway": {"reachy_link", "reachy_service"},
    "robot_io": {"reachy_link", "reachy_service", "reachy_robot"},
    "gemini_gateway": {"reachy_link", "reachy_service", "reachy_gateway"},
    "mock_gateway": {"reachy_link", "reachy_service", "reachy_gateway"},
    "gemini_live_sim": set(),
    "reachy_console": {"reachy_link", "reachy_service", "reachy_robot"},
}
NEVER = {
    "reachy_link": {"soxr", "google", "reachy_mini", "prometheus_client"},
    "reachy_service": {"soxr", "google", "reachy_mini", "prometheus_client", "zmq", "numpy"},
    "reachy_robot": {"soxr", "google", "reachy_mini", "prometheus_client"},
    "reachy_gateway": {"google", "reachy_mini"},
    "robot_io": {"google", "soxr", "prometheus_client"},
    "gemini_gateway": {"reachy_mini"},
    "mock_gateway": {"google", "reachy_mini"},
    "gemini_live_sim": {"google", "reachy_mini"},
    "reachy_console": {"google", "reachy_mini", "soxr", "prometheus_client"},
}
ONLY_IN = {
    ("reachy_mini", "robot_io"): {"reachy.sdk"},
    ("zmq", "reachy_console"): {"admin_link"},
    ("tomlkit", "gemini_gateway"): {"robots_table"},
    ("redis", "reachy_gateway"): {"fleet.valkey"},
    ("cryptography", "reachy_gateway"): {"fleet.seal"},
    ("google", "gemini_gateway"): {"sdk.client", "sdk.connection", "sdk.errors", "sdk.setup", "sdk.translate"},
}
PURE = {
    "reachy_link": {"address", "admin", "bucket", "causes", "clock", "messages", "pcm", "tally", "text", "wire"},
    "reachy_service": {"environment"},
    "reachy_robot": {
        "acts",
        "body",
        "complaints",
        "core",
        "cues",
        "decisions",
        "memory",
        "microphone",
        "motion.composer",
        "motion.direction",
        "motion.limits",
        "motion.moves",
        "motion.pose",
        "motion.recorded",
        "playout",
        "presence",
        "route",
        "sender",
        "sound",
        "speaker",
        "trouble",
        "window",
    },
    "reachy_gateway": {
        "admin.desk",
        "admin.office",
        "admin.recorder",
        "admin.watcher",
        "boundary",
        "feed",
        "fleet.admissions",
        "fleet.claims",
        "fleet.level",
        "fleet.place",
        "fleet.port",
        "fleet.present",
        "link.limits",
        "link.peer",
        "link.pulse",
        "provider.causes",
        "provider.load",
        "provider.circuit_breaker",
        "provider.elsewhere",
        "provider.money",
        "provider.reconnects",
        "provider.usage",
        "stats",
        "talk.acts",
        "talk.conversation",
        "talk.latency",
        "talk.pacer",
        "talk.resampler",
        "talk.speech_gate",
        "talk.tell",
        "talk.turns",
        "tools.body",
        "tools.port",
        "tools.robot_status",
        "tools.what_time_is_it",
        "voice",
    },
    "gemini_gateway": {
        "burst_slot",
        "events",
        "models",
        "proxy",
        "robots_table",
        "sdk.pieces",
        "sdk.refusals",
        "session.answers",
        "session.attention",
        "session.backoff",
        "session.calls",
        "session.connection",
        "session.decisions",
        "session.exchanges",
        "session.memory",
        "session.meter",
        "session.outbox",
        "session.resumption",
        "session.server_turn",
        "session.session",
        "session.timing",
    },
    "reachy_console": {"fleet", "guard", "login", "messages"},
}
HARMLESS = {
    "abc",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "hashlib",
    "ipaddress",
    "itertools",
}
HARMLESS |= {
    "json",
    "math",
    "re",
    "statistics",
    "tomlkit",
    "tomllib",
    "typing",
    "unicodedata",
    "urllib.parse",
    "numpy",
    "pydantic",
    "soxr",
}
"""What a deciding module may import besides our own modules: except for ``IO`` none of these reads a clock, file, socket or
randomness."""
IO = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}
IO |= {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "np.random", "np.load", "np.save", "np.savez"}
IO |= {"np.fromfile", "np.memmap", "np.loadtxt", "np.savetxt", "np.genfromtxt"}
"""Names that need no import of their own, and that read, write or know the time."""
BROAD = {("reachy.sound", "Exception"): 1, ("logs", "Exception"): 1, ("feed", "Exception"): 1}
BROAD |= {
    ("runner", "Exception"): 1,
    ("reachy.sdk", "Exception"): 1,
    ("tools.port", "Exception"): 1,
    ("tools.toolbox", "BaseException"): 3,
    ("seats", "Exception"): 1,
}
"""Except clauses that catch everything: around a thread's end, a value that cannot be logged, a reader of the feed, a robot's
body, a page's robot, the SDK after the daemon's end, and a user's tool (its schema, file, validators and call).
``boundary.Boundary`` is a class."""


def dotted(package: str, path: Path) -> str:
    """A module's name within its package: ``session.outbox``. ``__init__`` has its folder's name; the package's is empty."""
    parts = path.relative_to(PACKAGES[package]).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {
    name: {dotted(name, path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGES[name].rglob("*.py"))}
    for name in sorted(PACKAGES)
}
MODULES = {f"{package}.{name}".rstrip(".") for package, trees in TREES.items() for name in trees}


def modules(package: str) -> Iterator[tuple[str, set[str]]]:
    """Each module of a package by its dotted name, with everything that it imports anywhere in the file."""
    for name, tree in TREES[package].items():
        yield name, set(imported(tree))


def imported(tree: ast.AST) -> Iterator[str]:
    """The full imported names. ``from a import b`` from our packages yields ``a.b``, which may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            inner = {f"{node.module}.{name.name}" for name in node.names}
            yield from inner & MODULES
            if not inner <= MODULES:
                yield node.module


def within(name: str, names: set[str]) -> bool:
    """Whether a dotted name is one of these, or below one of them."""
    parts = name.split(".")
    return any(".".join(parts[:n]) in names for n in range(1, len(parts) + 1))


def roots(names: set[str]) -> set[str]:
    """The packages of dotted names."""
    return {name.partition(".")[0] for name in names}


def does(tree: ast.AST) -> Iterator[str]:
    """The names of ``IO`` that a module uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in IO:
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            yield from {".".join(ast.unparse(node).split(".")[-2:])} & IO


def test_every_package_is_covered():
    assert PACKAGES.keys() == OURS == MAY_IMPORT_OF_OURS.keys() == NEVER.keys()


@pytest.mark.parametrize("package", sorted(OURS))
def test_a_package_imports_only_what_it_may(package):
    for module, names in modules(package):
        foreign = (roots(names) & OURS) - MAY_IMPORT_OF_OURS[package] - {package}
        assert not foreign, f"{package}.{module} imports {foreign}"
        never = {name for name in names if within(name, NEVER[package])}
        assert not never, f"{package}.{module} imports {never}"


@pytest.mark.parametrize(("library", "package"), sorted(ONLY_IN))
def test_an_sdk_is_known_to_its_module_alone(library, package):
    assert {module for module, names in modules(package) if library in roots(names)} <= ONLY_IN[library, package]


@pytest.mark.parametrize("package", sorted(PURE))
def test_a_module_that_decides_knows_no_socket_no_task_and_no_clock(package):
    """Nor does any of our modules that it imports."""
    pure = {f"{name}.{module}" for name, modules_of in PURE.items() for module in modules_of}
    found = {module: names for module, names in modules(package) if module in PURE[package]}
    assert found.keys() == PURE[package], "every module named here exists"
    for module, names in found.items():
        ours = {name for name in names if roots({name}) <= OURS}
        assert ours <= pure, f"{package}.{module} imports {ours - pure}"
        foreign = {name for name in names - ours if not within(name, HARMLESS)}
        assert not foreign, f"{package}.{module} imports {foreign}"
        assert not set(does(TREES[package][module])), f"{package}.{module} uses {set(does(TREES[package][module]))}"


@pytest.mark.parametrize("package", sorted(PURE))
def test_no_part_of_a_package_imports_in_a_circle(package):
    """Imports between modules go in one direction."""
    needs = {
        module: {name.removeprefix(f"{package}.") for name in names if roots({name}) == {package}}
        for module, names in modules(package)
    }
    while needs:
        free = {module for module, names in needs.items() if not names & needs.keys() - {module}}
        assert free, f"{package}: {sorted(needs)} import each other in circles"
        needs = {module: names for module, names in needs.items() if module not in free}


def test_the_rules_see_what_they_are_for():
    def names(text):
        return set(imported(ast.parse(text)))

    assert names("from reachy_link import sockets") == {"reachy_link.sockets"}
    assert names("from reachy_link import sockets, __version__") == {"reachy_link.sockets", "reachy_link"}
    assert names("def f():\n import os.path") == {"os.path"}
    for text in (
        "open('x')",
        "print(1)",
        "datetime.now(tz)",
        "datetime.datetime.now(tz)",
        "np.random.default_rng()",
        "f = open",
    ):
        assert list(does(ast.parse(text))), text
    for text in ("self.open(1)", "now + 1", "loop.random", "datetime.fromtimestamp(now)", "open = 3"):
        assert not list(does(ast.parse(text))), text
    assert not within("urllib.request", HARMLESS)
    assert within("urllib.parse", HARMLESS)
    assert within("collections.abc", HARMLESS)
    for name in ("os", "time", "asyncio", "secrets", "urllib", "zmq.asyncio", "sqlite3", "io", "selectors", "multiprocessing"):
        assert not within(name, HARMLESS)


def lists(package: str) -> tuple[str, str]:
    """The document's two lists of a package's modules: those that are pure, and its rim."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, chapter = text.split("\n## A pure core, a thin rim\n")
    sections = chapter.split("\n## ")[0].split("\n### ")[1:]
    [found] = [section for section in sections if section.startswith(f"`{package}`\n")]
    title, pure, rim = re.split(r"\n\*\*(?:Pure|Rim)\*\*\n", found)
    assert title.strip() == f"`{package}`"
    assert found.index("\n**Pure**\n") < found.index("\n**Rim**\n")
    return pure, rim


@pytest.mark.parametrize("package", sorted(PURE))
def test_the_document_lists_every_module_as_pure_or_rim_as_it_is_tested(package):
    pure, rim = lists(package)
    folders = {name for name in TREES[package] if any(other.startswith(f"{name}.") for other in TREES[package])} | {""}
    assert set(re.findall(r"`([\w.]+)`", pure)) == PURE[package]
    assert set(re.findall(r"`([\w.]+)`", rim)) == TREES[package].keys() - PURE[package] - folders - {"__main__"}


TESTED_IN = {
    "gemini_gateway": {
        "burst_slot": "gemini/test_fairness.py",
        "program": "programs/test_secrets.py",
        "configuration": "gemini/test_voices.py",
        "endpoint": "gemini/test_settings.py",
        "events": "gemini/test_translate.py",
        "voice_host": "gemini/test_voices.py",
        "implied": "gemini/test_session.py",
        "running_tools": "sessions/test_tools.py",
        "sdk.client": "sessions/test_failures.py",
        "sdk.connection": "sessions/test_failures.py",
        "sdk.socket": "gemini/test_translate.py",
        "session.connection": "gemini/test_session.py",
        "session.decisions": "gemini/test_session.py",
        "session.server_turn": "gemini/test_answers.py",
        "session.timing": "gemini/test_sessions_doc.py",
    },
    "reachy_console": {
        "admin_link": "console/test_operating.py",
        "app": "console/test_page.py",
        "browser": "console/test_page.py",
        "gateways": "console/test_operating.py",
        "messages": "console/test_page.py",
        "seats": "console/test_page.py",
        "settings": "programs/test_bad_settings.py",
        "visit": "console/test_page.py",
    },
    "reachy_gateway": {
        "admin.commands": "e2e/test_admin.py",
        "admin.office": "gemini/test_office.py",
        "admin.picture": "e2e/test_admin.py",
        "admin.port": "attacks/test_admin_port.py",
        "admin.recordings": "gateway/test_recordings.py",
        "admin.service": "e2e/test_admin.py",
        "admin.watcher": "console/test_fleet.py",
        "body": "e2e/test_body.py",
        "boundary": "e2e/test_robots.py",
        "fleet.claiming": "gateway/test_member.py",
        "fleet.join": "e2e/test_remembering.py",
        "fleet.port": "gateway/test_valkey.py",
        "fleet.scribe": "gateway/test_member.py",
        "host": "e2e/test_robots.py",
        "link.limits": "attacks/test_floods.py",
        "provider.causes": "link/test_protocol_doc.py",
        "service": "programs/test_bad_settings.py",
        "talk.tell": "gateway/test_conversation.py",
        "tools.port": "gateway/test_toolbox.py",
        "tools.robot_status": "gateway/test_toolbox.py",
        "tools.what_time_is_it": "gateway/test_toolbox.py",
    },
    "reachy_link": {
        "admin": "link/test_admin_doc.py",
        "causes": "link/test_protocol_doc.py",
        "messages": "link/test_wire.py",
        "sockets": "link/test_ticks.py",
    },
    "reachy_robot": {
        "complaints": "robot/test_presence.py",
        "decisions": "robot/test_core.py",
        "runner": "e2e/test_device.py",
        "sender": "robot/test_core.py",
        "body": "e2e/test_body.py",
        "motion.direction": "robot/test_acts.py",
        "motion.limits": "robot/test_composer.py",
        "motion.moves": "robot/test_composer.py",
        "motion.pose": "robot/test_composer.py",
    },
    "robot_io": {
        "moves": "robot/test_recorded.py",
        "reachy.body": "reachy/test_body.py",
        "reachy.sdk": "reachy/test_trouble.py",
        "wav.sound": "robot/test_wav.py",
        "wav.body": "e2e/test_body.py",
        "reachy.sound": "reachy/test_sound.py",
    },
}
"""Where a module without a test file of its own name is tested. The simulator is tested by its behaviour."""


@pytest.mark.parametrize("package", sorted(OURS - {"gemini_live_sim"}))
def test_the_tests_of_a_module_are_found_by_its_name_or_in_this_table(package):
    tests = Path(__file__).parent
    named = {path.name for path in tests.rglob("test_*.py")}
    listed = TESTED_IN.get(package, {})
    assert all((tests / where).exists() for where in listed.values())
    folders = {name for name in TREES[package] if any(other.startswith(f"{name}.") for other in TREES[package])} | {
        "",
        "__main__",
    }
    lost = {name for name in TREES[package] if f"test_{name.rpartition('.')[2]}.py" not in named} - folders - {"", "__main__"}
    assert lost <= listed.keys(), "name a test for these"


LINES_MAX = 350
ATTRIBUTES_MAX = 25


def attributes(node: ast.ClassDef) -> set[str]:
    """The attributes that a class sets on its instances."""
    stored = (it for it in ast.walk(node) if isinstance(it, ast.Attribute) and isinstance(it.ctx, ast.Store))
    return {it.attr for it in stored if isinstance(it.value, ast.Name) and it.value.id == "self"}


@pytest.mark.parametrize("package", sorted(OURS))
def test_a_module_fits_a_readers_head_or_says_why_it_is_longer(package):
    for path in sorted(PACKAGES[package].rglob("*.py")):
        tree = TREES[package][dotted(package, path)]
        told = " ".join((ast.get_docstring(tree) or "").split())
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= LINES_MAX or "longer than others:" in told, f"{path}: {lines} lines"
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                assert len(attributes(node)) <= ATTRIBUTES_MAX, f"{path}: {node.name}"


def broad(tree: ast.AST) -> Iterator[str]:
    """A module's except clauses that catch nearly everything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            names = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"everything"}
            yield from names & {"Exception", "BaseException", "everything"}


def test_a_broad_except_is_where_the_document_says():
    found: dict[tuple[str, str], int] = {}
    for trees in TREES.values():
        for module, tree in trees.items():
            for name in broad(tree):
                found[module, name] = found.get((module, name), 0) + 1
    assert found == BROAD


def public_names(tree: ast.AST) -> Iterator[str]:
    """Public methods, properties and functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name


CALLED_BY_OTHERS = {"handle_error", "do_GET", "log_message", "capture_signals"}
"""Names that a library calls."""


def test_nothing_is_defined_that_only_tests_use():
    """Each public name is used elsewhere in the sources, benches or tools, or has a decorator that a library reads."""
    sources = [path for package in OURS - {"gemini_live_sim"} for path in PACKAGES[package].rglob("*.py")]
    users = [*sources, *PACKAGES["gemini_live_sim"].rglob("*.py"), *ROOT.glob("bench/**/*.py"), *ROOT.glob("tools/*.py")]
    words = re.findall(r"\w+", "\n".join(path.read_text() for path in users))
    count = {name: words.count(name) for path in sources for name in public_names(ast.parse(path.read_text()))}
    assert sorted(name for name, n in count.items() if n < 2 and name not in CALLED_BY_OTHERS) == []


def test_no_branch_is_for_a_system_on_which_no_gateway_starts():
    """A gateway counts descriptors and reads socket counters in ways that only Linux and similar systems offer."""
    sources = [path for package in OURS for path in PACKAGES[package].rglob("*.py")]
    assert [path.name for path in [*sources, *ROOT.glob("*/*/pyproject.toml")] if "win32" in path.read_text()] == []


def text_without_encoding(tree: ast.AST) -> Iterator[int]:
    """The lines that read or write text without naming an encoding."""
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
    """Else a file would mean different things on this machine and in a container whose locale is not UTF-8."""
    for path in sorted(PACKAGES[package].rglob("*.py")):
        lines = list(text_without_encoding(TREES[package][dotted(package, path)]))
        assert not lines, f"{path}: lines {lines}"


@pytest.mark.parametrize("package", sorted(OURS))
def test_every_package_says_how_many_threads_numpy_makes_before_it_is_imported(package):
    """On a host with many cores numpy would make more threads than a container may have, and the import would fail."""
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
    assert sorted(told(OPENBLAS_NUM_THREADS="2")) == ["2", "2", "numpy"], "a value that is set must stay"


def test_every_clone_has_the_same_line_ends():
    """Whatever a clone's ``core.autocrlf``: a script with CRLF line ends does not run, inside an image or outside."""
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = [line.partition("\t")[0].split(maxsplit=2) for line in listed.splitlines()]
    assert len(rows) > 300
    assert {attributes.strip() for _, _, attributes in rows} <= {"attr/text=auto eol=lf", "attr/-text"}
    assert {index for index, _, attributes in rows if "eol=lf" in attributes} <= {"i/lf", "i/none"}
