"""The bench of the page runs whole with small numbers, and measures what it claims to measure."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(120)
def test_the_page_is_measured(tmp_path):
    command = [sys.executable, ROOT / "bench" / "page.py", "--chunks", "50", "--cuts", "2", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tmp_path / "page.json").exists(), done.stderr
    timings = json.loads((tmp_path / "page.json").read_text())["result"]
    assert [it["n"] for it in timings] == [50, 2]
    assert all(0 <= it["min"] <= it["max"] < 2000 for it in timings)
