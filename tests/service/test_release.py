"""The release is said in one place, and everything that repeats it repeats it rightly."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from reachy_service.release import software

ROOT = Path(__file__).parents[2]
RELEASE = tomllib.loads((ROOT / "shared/reachy-link/pyproject.toml").read_text())["project"]["version"]


def test_a_program_tells_the_release():
    assert version("reachy-link") == RELEASE, "make .venv/ready"
    assert software("robot-io") == f"robot-io {RELEASE}"


def test_no_other_package_has_a_version_of_its_own():
    for path in [*ROOT.glob("shared/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml"), ROOT / "pyproject.toml"]:
        project = tomllib.loads(path.read_text())["project"]
        assert project["version"] == ("0" if project["name"] != "reachy-link" else RELEASE), path


def test_the_newest_entry_of_the_changelog_is_the_release():
    first = re.search(r"^## (\S+) ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first
    assert first[1] == RELEASE


def test_images_in_manifests_and_examples_in_documents_have_the_release():
    files = [
        path
        for folder in ("deploy", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".yaml", ".yml", ".md", ""}
    ]
    told = [
        (path.name, found)
        for path in files
        if path.is_file()
        for found in re.findall(
            r"(?:reachy-link/[\w-]+:|newTag: |gemini-gateway |robot-io |VERSION=)(\d+\.\d+\.\d+)",
            path.read_text(encoding="utf-8"),
        )
    ]
    assert len(told) >= 6
    assert {found for _, found in told} == {RELEASE}, told
