"""The images, built once."""

import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parent / "build"


@pytest.fixture(scope="session")
def clone(tmp_path_factory) -> Path:
    """The tree as a fresh clone under umask 077, with its images built."""
    directory = tmp_path_factory.mktemp("clone")
    done = subprocess.run([BUILD, directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    assert not (directory / ".env").exists()
    assert (directory / "README.md").stat().st_mode & 0o777 == 0o600
    return directory
