"""The documents: lines, links, words, commands and figures."""

import json
import re
import subprocess

import documents
import pytest
from documented import HERE, IN_CONTAINERS, NOWHERE, OTHER_TESTS
from documents import ROOT, anchors, commands, links, pages

from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.scenario import load_scenario

COLUMNS = 110
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in pages()}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_line_has_at_most_110_columns(page):
    long = [n for n, line in enumerate(PAGES[page].splitlines(), 1) if len(line) > COLUMNS and " " in line.strip()]
    assert not long, f"{page}: lines {long}"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_link_leads_somewhere(page):
    for link in links(PAGES[page]):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"


def test_the_glossary_has_each_word_once_and_the_pages_use_it():
    glossary = PAGES["docs/glossary.md"]
    words = re.findall(r'<a id="([\w-]+)">', glossary)
    assert 20 <= len(words) == len(set(words)) <= 35
    used = {link.partition("#")[2] for text in PAGES.values() for link in links(text) if "glossary.md#" in link}
    assert set(words) == used, "every word of the glossary is linked from a page"


def test_every_command_of_the_documents_is_run_by_a_test_or_says_what_it_needs():
    release = re.compile(r":\d+\.\d+\.\d+\b(?!\.)")
    told = {release.sub(":RELEASE", text) for _, text in commands() if not text.startswith("make ") and " make " not in text}
    known = [*HERE, *IN_CONTAINERS, *OTHER_TESTS, *(text for texts in NOWHERE.values() for text in texts)]
    assert told - set(known) == set(), "name them in tests/support/documented.py"
    assert set(known) - told == set(), "no page has these any more"
    assert len(known) == len(set(known))


def test_the_test_that_runs_a_command_in_a_form_of_its_own_exists():
    for where in OTHER_TESTS.values():
        path, _, name = where.partition("::")
        assert f"def {name}" in (ROOT / path).read_text(), where


def test_make_has_every_target_that_a_page_names_and_every_target_is_named():
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())
    named = {
        target
        for text in PAGES.values()
        for target in re.findall(
            r"(?:^|[ `(])make ([a-z][a-z-]+)\b(?=[`\s,.;:)]|$)",
            "\n".join(re.findall(r"`[^`\n]+`|^```sh.*?^```", text, re.MULTILINE | re.DOTALL)),
            re.MULTILINE,
        )
    }
    assert named <= phony, named - phony
    assert set(re.findall(r"^# make ([a-z-]+)", makefile, re.MULTILINE)) == phony - {"clean"}
    for target in sorted(phony):
        subprocess.run(["make", "--dry-run", "--silent", target], cwd=ROOT, check=True, capture_output=True)


# --- figures ----------------------------------------------------------------------------------------------------------


def table(page: str, start: str) -> list[list[str]]:
    """The rows of the table whose first line begins so."""
    text = PAGES[page]
    lines = text[text.index(start) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def slower() -> dict[tuple[str, str], list[str]]:
    """The bench page's density on the EPYC machine."""
    text = PAGES["bench/README.md"]
    rows = table("bench/README.md", text[text.index("| what | robots |", text.index("**The EPYC machine.**")) :][:200])
    return {(what, robots): cells for what, robots, *cells in rows}


def test_readme_has_the_density_of_the_bench_page():
    density = slower()
    rows = table("README.md", "| robots | mic to Gemini")
    assert len(rows) >= 6
    for robots, up, down, interruption, core, bare in rows:
        assert [up, down, interruption, core] == [
            f"{cell}{unit}" for cell, unit in zip(density["gateway", robots][:4], (" ms", " ms", " ms", " %"), strict=True)
        ], robots
        if bare:
            sdk = density["sdk", robots]
            assert bare == f"{sdk[3]} %" + ("" if sdk[-1] == "yes" else ", too late")


def peers() -> dict[tuple[str, int], dict]:
    result = json.loads((ROOT / "bench" / "results" / "peers.json").read_text())["result"]
    return {(row["what"], row["robots"]): row for row in result["steady"]}


def test_readme_has_the_peers_of_the_results():
    steady = peers()
    names = {"this gateway": "gateway", "google-genai, bare loop": "sdk", "the same with conversion": "sdk+conversion"}
    names |= {"plain WebSocket and JSON": "raw"}
    rows = table("README.md", "| | CPU per robot, 30")
    assert len(rows) == 6
    for name, at_30, at_40, mic, *_ in rows:
        what = names.get(name, name.partition(" ")[0])
        for robots, told in ((30, at_30), (40, at_40)):
            if re.fullmatch(r"[\d.]+ %", told):
                assert float(told.split()[0]) == pytest.approx(middle(steady[what, robots]["CPU %"]) / robots, abs=0.0051), (
                    name,
                    robots,
                )
        at = 20 if "(20)" in mic else 40
        p50, p99 = (middle(steady[what, at][f"up {p} ms"]) for p in ("p50", "p99"))
        assert mic.removesuffix(" (20)") == f"{p50:.1f} / {p99:.1f} ms", name


def middle(values: list[float]) -> float:
    """The median, as the benches print it."""
    return sorted(values)[len(values) // 2]


def test_readmes_other_figures_are_those_of_the_bench_page():
    """On the Intel machine: start, storm, an interruption among bursts."""
    bench = PAGES["bench/README.md"].partition("**The EPYC machine.**")[0]
    start = re.search(r"gateway: start -> healthy \| 5 \| [\d.]+ \| ([\d.]+)", bench)[1]
    storm = re.search(r"healthy -> all talk both ways \| 5 \| [\d.]+ \| ([\d.]+)", bench)[1]
    bursts = re.search(r"the same, nine other robots receiving bursts \| 300 \| [\d.]+ \| ([\d.]+)", bench)[1]
    readme = " ".join(PAGES["README.md"].split())
    assert f"a gateway is healthy {float(start):.1f} s after its start" in readme
    assert f"all of them talked again {float(storm):.1f} s after it was back" in readme
    assert f"takes {bursts} ms at p99" in readme
    more = re.search(r"Each further robot took ([\d.]+) MB", " ".join(PAGES["bench/README.md"].split()))[1]
    assert f"A further robot takes {float(more):.1f} MB" in readme


def test_the_fleet_page_repeats_the_storm_of_readme():
    assert f"it is {re.search(r'talked again ([0-9.]+ s)', ' '.join(PAGES['README.md'].split()))[1]}" in " ".join(
        PAGES["docs/fleet.md"].split()
    )


def test_documents_sees_commands_comments_and_anchors():
    block = "a --b 'c # d'   # e\n# f\ng \\\n  h\nfor x in y; do\n  z &&\n    w\ndone\nk() { l; }\n"
    assert list(documents.statements(block)) == ["a --b 'c # d'", "g h", "for x in y; do\nz &&\nw\ndone", "k() { l; }"]
    assert anchors('# A `b`, c\n## Roles & [d](e)\n```\n# no\n```\n## A `b`, c\n<a id="x"></a>') == {
        "a-b-c",
        "roles--d",
        "a-b-c-1",
        "x",
    }
    assert links("[a](b#c) `[d](e)` ![f](g)\n```\n[h](i)\n```") == ["b#c", "g"]


def test_a_scenario_of_a_page_is_one(tmp_path):
    blocks = [
        block
        for text in PAGES.values()
        for block in re.findall(r"^```toml\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
        if block.startswith("[behaviour]")
    ]
    assert len(blocks) >= 2
    for block in blocks:
        (tmp_path / "mine.toml").write_text(block)
        assert load_scenario(str(tmp_path / "mine.toml"), Behaviour()).behaviour.script
