"""Each bench runs whole with small numbers, and measures what it claims to measure. Speed is the bench's own concern."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent.parent / "bench"

pytestmark = pytest.mark.timeout(180)


def run(out: Path, name: str, *options: object) -> tuple[list[dict], "subprocess.CompletedProcess[str]"]:
    """Run a bench. Returns the kept result and the process. A void run exits with 1, which is likely on a busy machine."""
    command = [sys.executable, BENCH / f"{name}.py", "--out", out, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    file = out / f"{name}.json"
    assert file.exists(), done.stderr
    kept = json.loads(file.read_text())
    assert kept["machine"]["python"]
    return kept["result"], done


def test_a_short_soak_holds(tmp_path):
    result, done = run(tmp_path, "soak", "--minutes", 0.7)
    assert (result["wrong"], done.returncode) == ([], 0), done.stdout
    assert sum(result["faults"].values()) > 20
    assert len(result["samples"]) == 12


def test_latency_measures_every_chunk_and_every_turn(tmp_path):
    timings, done = run(tmp_path, "latency", "--chunks", 50, "--turns", 3)
    assert [it["n"] for it in timings[3:]] == [50, 3, 3, 15], done.stderr
    assert timings[0]["n"] >= 50
    assert [timings[1]["n"], timings[2]["n"]] == [6, 3]  # at the floor every burst counts as a turn, too
    assert all(0 < it["min"] <= it["p50"] <= it["p99"] <= it["max"] for it in timings)
    for it in timings:
        assert it["what"] in done.stdout


def test_density_hears_every_robot_beside_its_floors(tmp_path):
    kinds = ["sdk", "raw", "gateway", "with-tools", "with-bodies"]
    rows, done = run(tmp_path, "density", "--robots", 20, "--runs", 1, "--seconds", 2, "--what", *kinds)
    assert [(row["what"], row["robots"]) for row in rows] == [(what, 20) for what in kinds]
    for row in rows:
        assert row["lost %"][0] < 0.5, done.stdout + done.stderr
        assert row["CPU %"][0] > 0
        assert row["MB"][0] > 10
        assert row["up p50 ms"][0] > 0
    assert rows[2]["down p50 ms"][0] > 0
    assert rows[2]["cut p99 ms"][0] > 0, "nobody was interrupted"
    assert all(0 < row["call p99 ms"][0] < 2000 for row in rows[3:]), "calls are not answered in time"
    assert (tmp_path / "density.png").read_bytes().startswith(b"\x89PNG")


def test_peers_does_the_same_work_and_says_what_is_behind_what(tmp_path):
    result, done = run(
        tmp_path, "peers", "--what", "gateway", "sdk", "--robots", 3, "--burst-robots", 2, "--runs", 1, "--seconds", 2
    )
    assert [(row["what"], row["robots"]) for row in result["steady"]] == [("gateway", 3), ("sdk", 3)], done.stderr
    for row in result["steady"]:
        assert row["lost %"][0] < 0.5, done.stdout + done.stderr
        assert row["up p50 ms"][0] > 0
        assert row["down p50 ms"][0] > 0
        assert row["CPU %"][0] > 0
    for row in result["bursts"]:
        assert row["cut p99 ms"][0] > 0, "nobody was interrupted"
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


def test_storm_sees_every_robot_come_back(tmp_path):
    timings, done = run(tmp_path, "storm", "--robots", 13, "--runs", 2, "--kills", 2)
    assert [it["n"] for it in timings] == [2, 3, 2, 2, 2, 2], done.stderr
    assert all(it["min"] > 0 for it in timings)


def test_gate_measures_every_room(tmp_path):
    rows, done = run(tmp_path, "gate", "--minutes", 0.5)
    assert [row["room"] for row in rows][:3] == ["white noise", "pink noise", "brown noise"], done.stderr
    assert len(rows) == 8
    for row in rows:
        assert row["false openings a minute"] == "0.0", done.stdout
        assert row["room"] in done.stdout


def test_watch_counts_what_consoles_cost(tmp_path):
    rows, done = run(tmp_path, "watch", "--robots", 6, "--seconds", 1)
    assert [(row["consoles"], row["deaf"]) for row in rows] == [(0, 0), (1, 0), (1, 3), (4, 0)], done.stderr
    assert all(row["loop %"] > 0 for row in rows)
    assert rows[1]["loop %"] > rows[0]["loop %"]


def test_remember_sees_who_is_heard_again_and_where(tmp_path):
    result, done = run(tmp_path, "remember", "--runs", 1, "--hangs", 1, "--kills", 4, "--robots", 10, "--seconds", 2)
    assert [it["n"] for it in result["timings"]] == [3, 3, 3, 3, 3, 2], done.stderr
    assert all(it["max"] < 10 for it in result["timings"]), done.stdout
    assert (result["wrong"], result["books"]["off"]) == ([], 0), done.stdout
    assert result["books"]["turns"] > 10
    assert result["cost"]["CPU %"] > 0


def test_scale_foretells_a_storm_and_shows_crowds(tmp_path):
    result, done = run(tmp_path, "scale", "--runs", 1, "--big", 500)
    assert len(result["fates"]) == 8, done.stderr
    assert all(0 < it["p50_s"] <= it["p99_s"] <= it["max_s"] < 60 for it in result["fates"])
    assert all(it["most"] <= it["robots_max"] for it in result["fates"])
    assert result["measured"]["talk_s"] > 0
    assert result["simulated"]["talk_s"] > 0
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


def test_capacity_says_what_it_has_seen(tmp_path):
    result, done = run(tmp_path, "capacity", "--seconds", 13)
    assert result["robots"] in (0, 20), done.stderr
    assert ("20 robots: p99 up" in done.stdout) != ("20 robots: the load generator ended" in done.stdout)
    assert ("GATEWAY_MAX_ROBOTS=20" in done.stdout) == (result["robots"] == 20)
