"""The bench of the body runs whole with small numbers, and measures what it claims to measure."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(180)
def test_the_body_is_measured_beside_its_floor(tmp_path: Path) -> None:
    few = ["--calls", 3, "--cuts", 3, "--seconds", 8, "--runs", 1, "--out", tmp_path]
    command = [ROOT / ".venv" / "bin" / "python", ROOT / "bench" / "body.py", *few]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert (tmp_path / "body.json").exists(), done.stderr
    result = json.loads((tmp_path / "body.json").read_text())["result"]
    assert [it["n"] for it in result["timings"]] == [3, 3, 3], done.stdout
    assert all(0 < it["min"] <= it["max"] < 2000 for it in result["timings"])
    assert 0.5 < result["limits"]["deg a tick"] <= 6
    assert result["limits"]["out of the box"] == 0
    assert all(percent > 1 and late_ms >= 0 for runs in result["shares"].values() for percent, late_ms in runs)
