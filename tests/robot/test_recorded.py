"""Recorded moves are played as recorded, and files that are not moves are refused by name."""

import json
import os

import pytest

from reachy_robot.motion.moves import MOVES
from reachy_robot.motion.pose import NEUTRAL, Pose, head_of
from reachy_robot.motion.recorded import BYTES_MAX, SAMPLES_MAX, RecordingError, recorded
from robot_io.moves import FILES_MAX, read

POSES = [Pose(), Pose(2, -3, 4, 5, -6, 7, 8, 90, -100), Pose(pitch_deg=10, yaw_deg=-20, left_deg=10, right_deg=-10)]
RAD = 0.017453292519943295


def target(pose: Pose, *, flat: bool = False) -> dict:
    rows = head_of(pose)
    head = [value for row in rows for value in row] if flat else rows
    antennas = [pose.right_deg * RAD, pose.left_deg * RAD]
    return {"head": head, "antennas": antennas, "body_yaw": pose.body_deg * RAD, "check_collision": False}


def file(poses=POSES, times=None, *, flat: bool = False, **fields) -> bytes:
    times = [0.5 * n for n in range(len(poses))] if times is None else times
    told = {"description": "of a test", "time": times, "set_target_data": [target(pose, flat=flat) for pose in poses]}
    return json.dumps(told | fields).encode()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("first_s", [0.0, 1723.25, -3.0])
def test_a_move_is_played_as_it_was_recorded(flat, first_s):
    move, too_far = recorded(file(times=[first_s, first_s + 0.5, first_s + 1.0], flat=flat))
    assert (move.seconds, move.dances, too_far) == (1.0, False, False)
    for n, pose in enumerate(POSES):
        assert move.curve(0.5 * n).plus(NEUTRAL) == pytest.approx(pose, abs=1e-6)
    assert move.curve(0.25).plus(NEUTRAL) == pytest.approx(POSES[0].toward(POSES[1], 0.5), abs=1e-6)
    assert move.curve(-1.0) == move.curve(0.0)
    assert move.curve(99.0) == move.curve(1.0)


def test_two_samples_of_one_moment_and_no_body_are_no_fault():
    told = json.loads(file(times=[0.0, 0.5, 0.5]))
    del told["set_target_data"][0]["body_yaw"]
    told["set_target_data"][1]["body_yaw"] = None
    move, _ = recorded(json.dumps(told).encode())
    assert all(move.curve(0.01 * n).is_finite for n in range(100))


def test_a_move_that_reaches_too_far_is_told_of():
    assert recorded(file([Pose(), Pose(z_mm=80)]))[1]
    assert recorded(file([Pose(), Pose(yaw_deg=120)]))[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[]", "object"),
        (b"{}", "time"),
        (b"[" * 100_000, "JSON"),
        (file(times=[0.0, 0.5]), "2 times and 3 targets"),
        (file(times=[0.0, 1.0, 0.5]), "ascend"),
        (file(times=[0.0, 1.0, float("nan")]), "time.2"),
        (file(times=[0.0, 1.0, float("inf")]), "time.2"),
        (file(times=[0.0, 1.0, 61.0]), "it lasts 61.0 s"),
        (file(times=[0.0, 0.0, 0.0]), "it lasts 0.0 s"),
        (file(times=[-1e308, 0.0, 1e308]), "it lasts inf s"),
        (file(POSES[:1]), "at least 2"),
        (file(set_target_data=[target(Pose()), target(Pose()) | {"antennas": [0.0]}]), "set_target_data.1.antennas"),
        (file(set_target_data=[target(Pose()), target(Pose()) | {"head": [[float("nan")] * 4] * 4}]), "set_target_data.1.head"),
        (file(set_target_data=[target(Pose()), target(Pose()) | {"head": [0.0] * 15}]), "set_target_data.1.head"),
        (file([Pose()] * 2, set_target_data=[target(Pose()), target(Pose()) | {"head": [[0.0] * 4] * 4}]), "1.head: no pose"),
        (file([Pose()] * 2, set_target_data=[target(Pose()), target(Pose()) | {"head": [[1e300] * 4] * 4}]), "1.head: no pose"),
        (b'{"time": [' + b"0," * 1_000_000 + b"0]}", "at most 12000"),
        (b" " * (BYTES_MAX + 1), "2 MB"),
    ],
)
def test_what_is_no_move_is_refused_with_the_reason(text, words):
    with pytest.raises(RecordingError, match=words):
        recorded(text)


def test_the_longest_move_can_be_played():
    n = 4000
    move, _ = recorded(file([Pose()] * n, times=[60.0 * i / (n - 1) for i in range(n)]))
    assert move.seconds == pytest.approx(60)
    assert n < SAMPLES_MAX


def test_a_folder_gives_its_moves_and_says_what_it_refuses(tmp_path):
    folder, outside = tmp_path / "moves", tmp_path / "outside.json"
    folder.mkdir()
    outside.write_bytes(file())
    for name in ("glad1", "two_left_feet", "Shout", "a" * 25, "b b", "nod", "..", "ü"):
        (folder / f"{name}.json").write_bytes(file())
    (folder / "glad1.wav").write_bytes(b"RIFF")
    (folder / "wide.json").write_bytes(file([Pose(), Pose(z_mm=80)]))
    (folder / "broken.json").write_bytes(b"{")
    (folder / "huge.json").write_bytes(b" " * (BYTES_MAX + 1))
    (folder / "inside.json").symlink_to("glad1.json")
    (folder / "outside.json").symlink_to(outside)
    (folder / "gone.json").symlink_to("no_such.json")
    (folder / "round.json").symlink_to("round.json")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    moves, remarks = read(folder)
    assert set(moves) == {"glad1", "two_left_feet", "wide", "inside"}
    told = {remark.split(".json")[0].lstrip("'"): remark for remark in remarks}
    refused = {"Shout", "a" * 25, "b b", "nod", "..", "\\xfc", "broken", "huge", "outside", "gone", "round", "folder", "pipe"}
    assert set(told) == refused | {"wide"}
    assert "goes beyond the robot's limits" in told["wide"]
    assert "leads out of the folder" in told["outside"]
    assert "there is already a move" in told["nod"]
    assert moves.keys().isdisjoint(MOVES)


def test_a_folder_that_is_full_is_read_so_far(tmp_path):
    for n in range(FILES_MAX + 5):
        (tmp_path / f"m{n:04}.json").write_bytes(b"")
    moves, remarks = read(tmp_path)
    assert not moves
    assert len(remarks) == FILES_MAX + 1
    assert f"more than {FILES_MAX} files" in remarks[0]


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "no_such")
