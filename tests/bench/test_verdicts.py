"""What a bench concludes from its runs: which are void, and which bounds were missed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import density
import peers
from density import Row, Run
from harness.others import LATE_MAX_MS, OTHERS_MAX, Others
from harness.results import BUSY_MAX
from stamps import SAMPLES, Reader, mark_of, marked, stamped

FINE = {
    "busy": 0.3,
    "late_ms": [1.0],
    "up_ms": [1.0, 2.0],
    "down_ms": [2.0],
    "cut_ms": [3.0],
    "old_ms": [0.0],
    "content_ms": [40.0],
    "call_ms": [],
    "calls": 0,
    "up_sent": 100,
    "up_heard": 100,
    "down_sent": 100,
    "down_heard": 100,
    "underruns": 0,
    "messages_up": 100,
}


def row(what: str, robots: int, cpu: float = 0.3, others: float = 0.0, **told: object) -> Row:
    """A row of one run."""
    return Row([Run(what, robots, FINE | told, cpu, 100.0, others)])


@pytest.mark.parametrize(
    ("others", "told", "words"),
    [
        (0.0, {}, ""),
        (0.0, {"busy": BUSY_MAX + 0.01}, "the load generator used 81%"),
        (OTHERS_MAX + 0.05, {}, "other programs took 20%"),
        (0.0, {"late_ms": [LATE_MAX_MS * 2]}, "held up"),
        (OTHERS_MAX + 0.05, {"up_ms": [900.0], "up_heard": 5}, "other programs"),
    ],
)
def test_a_run_in_which_the_machine_was_busy_says_nothing(others, told, words):
    made = row("gateway", 20, others=others, **told)
    assert words in made.runs[0].void
    assert made.verdict == ("void" if words else "yes")


LATE = {"up_ms": [60.0]}


@pytest.mark.parametrize(
    ("rows", "status", "said"),
    [
        ([row("sdk", 40, 0.5), row("gateway", 60)], 0, "has to hold 60"),
        ([row("sdk", 40, 0.5), row("gateway", 60, **LATE)], 1, "MISSED: gateway with 60"),
        ([row("sdk", 40, 0.5), row("gateway", 100, **LATE)], 0, "has to hold 60"),
        ([row("sdk", 40, 0.3), row("gateway", 100, **LATE)], 1, "MISSED: gateway with 100"),
        ([row("sdk", 40, 0.9), row("gateway", 40, **LATE)], 0, "has to hold 20"),
        ([row("sdk", 40, 0.5), row("gateway", 60, others=0.5, **LATE)], 1, "VOID: gateway with 60 robots: other programs"),
        ([row("sdk", 20, 0.5, **LATE), row("gateway", 60)], 1, "VOID: the floor itself"),
    ],
)
def test_what_a_gateway_has_to_hold_hangs_on_the_machine_and_the_exit_status_says_so(rows, status, said, capsys):
    assert density.verdict(rows) == status
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ours", "bursts", "words"),
    [
        (row("gateway", 30, 0.29), [], []),
        (row("gateway", 30, 0.33), [], ["30 robots: a robot costs 1.10 of what it costs livekit-agents"]),
        (row("gateway", 30, 0.2, up_ms=[25.0]), [], ["30 robots: the microphone is later than at livekit-agents, at p50"]),
        (row("gateway", 30, 0.2, up_heard=90), [], ["30 robots: both p99 within 50 ms and nothing lost"]),
        (row("gateway", 20, up_ms=[3.0]), [], ["20 robots: the microphone takes 3.0 ms at p50, at most 2"]),
        (row("gateway", 30, 0.2), [row("gateway", 10, cut_ms=[15.0])], ["an interruption among bursts takes 15.0 ms"]),
    ],
)
def test_beside_its_peers_every_bound_that_was_missed_is_told(ours, bursts, words):
    found = peers.missed([ours, row("livekit-agents", 30, 0.3, up_ms=[21.0])], bursts)
    assert len(found) == len(words)
    assert all(word in told for word, told in zip(words, found, strict=True))


def test_what_another_program_takes_is_seen_and_what_ours_take_is_not():
    core = {max(os.sched_getaffinity(0))}
    burn = ["taskset", "--cpu-list", str(*core), sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(burn) as program:
        theirs, ours = Others(core), Others(core, [program.pid])
        until = time.monotonic() + 20.0
        while (seen_s := theirs.taken_s()) < ours.taken_s() + 0.3 and time.monotonic() < until:
            pass  # other programs may use the core, too
        program.kill()
    assert seen_s >= 0.3
    assert time.monotonic() < until


@pytest.mark.parametrize("size", [320, 640, 800, 1000, 100])
def test_stamps_are_read_however_a_stream_is_cut(size):
    now_us = time.monotonic_ns() // 1000
    stream = bytes(2 * SAMPLES) + b"".join(stamped(5, now_us + n) for n in range(10))
    reader = Reader()
    found = [one for at in range(0, len(stream), 2 * size) for one in reader.read(stream[at : at + 2 * size], now_us + 100)]
    assert [one for one in found if one[0] == 5] == [(5, now_us + n) for n in range(10)]


def test_a_mark_is_read_from_the_beginning_of_a_message_alone():
    pcm = marked(bytes(1920), 3, 7, 123456789)
    assert (len(pcm), mark_of(pcm)) == (1920, (3, 7, 123456789))
    assert mark_of(pcm[2:]) is None
    assert mark_of(b"") is None
