"""A gateway's metrics for Prometheus: the real numbers of a conversation, in Prometheus' form, and of bounded size."""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import get_args

import pytest
from rig import STEREO_16K, Keys, running_hub, running_robot
from scraping import NUMBER, Scrape, asked, talked

from mock_gateway.voice import MockVoice
from reachy_gateway.stats import RobotStats
from reachy_gateway.talk.latency import PARTS
from reachy_link.address import Address
from reachy_link.causes import LinkCause
from reachy_link.messages import BeatUp, Bye, Hello
from reachy_link.wire import pack_up
from reachy_robot.link import RobotEnd

LABELS = {"tool", "robot", "state", "part", "cause", "outcome", "kind", "phase", "planned", "software", "le"}


def problems(scrape: Scrape) -> Iterator[str]:
    """What promtool would report, and a few more problems."""
    seen = set()
    for family in scrape.families:
        if not family.documentation:
            yield f"{family.name} has no help"
        if family.type == "unknown":
            yield f"{family.name} has no type"
        if re.search(r"_(ms|us|milliseconds|minutes|percent)(_|$)", family.name):
            yield f"{family.name} is not in a base unit"
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in seen:
                yield f"{key} comes twice"
            seen.add(key)
            if family.type == "counter" and not sample.name.endswith(("_total", "_created")):
                yield f"{sample.name} is a counter without _total"
            if family.type == "counter" and sample.value < 0:
                yield f"{sample.name} is a counter below 0"
            if family.name.startswith("reachylink_") and not sample.labels.keys() <= LABELS:
                yield f"{sample.name} has {sample.labels}"
        if family.type == "histogram":
            yield from histogram_problems(family)


def histogram_problems(family) -> Iterator[str]:
    series: dict[tuple, list[tuple[float, float]]] = {}
    counts = {}
    for sample in family.samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        if sample.name.endswith("_bucket"):
            series.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[labels] = sample.value
    for labels, buckets in series.items():
        if any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(buckets)):
            yield f"{family.name} {labels}: buckets are not in order: {buckets}"
        if buckets[-1] != (float("inf"), counts[labels]):
            yield f"{family.name} {labels}: {buckets[-1]} is not its count, {counts[labels]}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# TYPE a gauge\na 1\n", "has no help"),
        ("# HELP a A.\na 1\n", "has no type"),
        ("# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n", "not in a base unit"),
        ("# HELP a A.\n# TYPE a gauge\na 1\na 2\n", "comes twice"),
        ("# HELP a_total A.\n# TYPE a_total counter\na_total -1\n", "below 0"),
        ('# HELP reachylink_x X.\n# TYPE reachylink_x gauge\nreachylink_x{text="Hello!"} 1\n', "has {'text'"),
        ('# HELP a A.\n# TYPE a histogram\na_bucket{le="1.0"} 3\na_bucket{le="+Inf"} 2\na_count 2\na_sum 1\n', "in order"),
        (
            '# HELP a A.\n# TYPE a histogram\na_bucket{le="1.0"} 3\na_bucket{le="+Inf"} 4\na_count 5\na_sum 1\n',
            "is not its count",
        ),
    ],
)
def test_what_promtool_would_find_is_found(text, words):
    assert words in "\n".join(problems(Scrape(text)))


@pytest.mark.timeout(120)
async def test_a_conversation_is_told_as_it_was(tmp_path, office):
    scrapes = await talked(tmp_path, office)
    for name, scrape in scrapes.items():
        assert list(problems(scrape)) == [], name
    answered, speaking, cut, lost, gone = (scrapes[name] for name in ("answered", "speaking", "cut", "lost", "gone"))

    one = {"robot": "reachy-1"}
    assert answered.value("reachylink_robots_connected") == 1
    assert answered.value("reachylink_robots_admitted") == 2
    assert answered.value("reachylink_robots_max") == 20
    # VAD silence (500 ms) and thinking (150 ms) are the simulator's. Its reply comes in one burst.
    assert answered.value("reachylink_turn_latency_seconds_count", **one) == 1
    total_s = answered.value("reachylink_turn_latency_seconds_sum", **one)
    assert 0.65 < total_s < 1.5
    assert answered.value("reachylink_last_turn_latency_seconds", **one) == pytest.approx(total_s)
    parts_s = {part: answered.value("reachylink_turn_part_seconds_sum", part=part, **one) for part in PARTS}
    assert sum(parts_s.values()) == pytest.approx(total_s, abs=0.005), "the parts must add up to the total"
    assert 0.6 < parts_s["voice"] < 1.4
    assert answered.value("reachylink_barge_in_seconds_count", **one) == 0
    for tokens in ("reachylink_tokens_total", "reachylink_tokens_today"):
        assert answered.value(tokens, kind="out_audio", **one) > 0
    cost = answered.value("reachylink_cost_dollars_total", **one)
    assert cost == answered.value("reachylink_cost_dollars_today", **one) > 0
    assert cost == answered.value("reachylink_gateway_cost_dollars_today")
    assert answered.value("reachylink_budget_dollars", **one) == 5
    assert answered.value("reachylink_gateway_budget_dollars") == 10
    assert answered.value("reachylink_link_rtt_seconds", **one) < 0.1
    assert abs(answered.value("reachylink_clock_offset_seconds", **one)) < 0.1, "both are on this machine"
    assert answered.value("reachylink_mic_lateness_seconds_count", **one) >= 1
    assert answered.value("reachylink_loop_lag_seconds_count") >= 10
    assert answered.value("process_resident_memory_bytes") > 1e7

    assert speaking.value("reachylink_robot_state", state="speaking", **one) == 1
    assert speaking.value("reachylink_robot_state", state="absent", robot="reachy-2") == 1
    assert sum(sample.value for sample in speaking.samples("reachylink_robot_state")) == 2, "one state each"
    assert speaking.value("reachylink_gemini_session", phase="live", **one) == 1
    assert 10 < speaking.value("reachylink_reply_queue_seconds", **one) < 20

    assert cut.value("reachylink_turns_total", outcome="cut", **one) == 1
    assert cut.value("reachylink_barge_in_seconds_count", **one) == 1
    assert 0 <= cut.value("reachylink_barge_in_seconds_sum", **one) < 0.5
    assert cut.value("reachylink_turn_latency_seconds_count", **one) == 2, "the tone answered nobody"

    assert lost.value("reachylink_gemini_gap_seconds_count", planned="yes", **one) == 1
    assert lost.value("reachylink_gemini_gap_seconds_count", planned="no", **one) == 1
    assert lost.value("reachylink_gemini_reconnects_total", cause="renewal", **one) == 1
    assert lost.value("reachylink_gemini_reconnects_total", cause="quota", **one) == 0, "told before it is first seen"
    assert lost.value("reachylink_gemini_events_total", cause="go_away", **one) == 1
    assert lost.value("reachylink_gemini_down") == 0

    assert gone.value("reachylink_robot_state", state="absent", **one) == 1, "it said goodbye"
    others = gone.labels("robot", "reachylink_drops", "reachylink_robot_state")
    assert others == set(), "the series of a robot that left have gone with it"
    assert gone.value("reachylink_gateway_cost_dollars_today") == lost.value("reachylink_gateway_cost_dollars_today")


async def test_a_robot_that_comes_back_counts_on_and_a_revoked_one_is_forgotten(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with running_hub(made, lambda *_: MockVoice()) as hub, asked(hub) as port:
        for n in (1, 2):
            async with running_robot(made.robot("reachy-1"), hub.bound) as robot:
                await robot.welcomed()
                robot.desk.say(NUMBER[:16000])
                await robot.answered(1)
                scrape = await port.until(lambda it, n=n: it.value("reachylink_turns_total", outcome="done") == n)
                assert scrape.value("reachylink_conversations_ended_total", cause="bye") == n - 1
                if n == 2:
                    made.ring.revoke("reachy-1")
                    scrape = await port.until(lambda it: it.value("reachylink_robots_admitted") == 0)
                    assert "reachy-1" not in scrape.text
            await port.until(lambda it: it.value("reachylink_robots_connected") == 0)


async def test_a_robot_that_falls_silent_is_away_then_lost_and_is_heard_again_without_a_hello(tmp_path):
    made = Keys(tmp_path, "reachy-1")
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(made, lambda *_: MockVoice()))
        port = await stack.enter_async_context(asked(hub))
        end = RobotEnd(made.robot("reachy-1"), Address("127.0.0.1", *hub.bound[1:]), lambda _: None, lambda _: None)
        stack.callback(end.close)
        fields = {"robot": "reachy-1", "boot": "a" * 16, "t_us": 1}
        hello = Hello(**fields, seq=0, mic=STEREO_16K, speaker=STEREO_16K, lead_ms=40)

        async def until(state: str, message=None) -> None:
            """Send a message again and again until the gateway reports this state."""
            async with asyncio.timeout(10):
                while not (scrape := await port.scrape()).value("reachylink_robot_state", state=state):
                    if message:
                        end.send(pack_up(message))
                        message = message.model_copy(update={"seq": message.seq + 1})
                    await asyncio.sleep(0.05)
            assert sum(sample.value for sample in scrape.samples("reachylink_robot_state")) == 1

        def later(s: float) -> None:
            hub.now = lambda: time.monotonic() + s

        await until("absent")
        await until("listening", hello)
        later(5.0)
        await until("away")
        await until("listening", BeatUp(**fields, seq=1000))
        later(70.0)
        await until("lost")
        await until("listening", hello.model_copy(update={"seq": 2000}))
        later(75.0)
        await until("away")
        await until("absent", Bye(**fields, seq=3000))


async def test_a_stall_of_the_event_loop_counts_for_every_look_that_it_held_up(tmp_path):
    async with running_hub(Keys(tmp_path, "reachy-1"), lambda *_: MockVoice()) as hub, asked(hub) as port:
        await port.until(lambda it: it.value("reachylink_loop_lag_seconds_count"))
        time.sleep(1.0)  # noqa: ASYNC251 - this is the stall
        scrape = await port.until(lambda it: it.value("reachylink_loop_lag_seconds_bucket", le="+Inf") >= 10)
        late = scrape.value("reachylink_loop_lag_seconds_count") - scrape.value("reachylink_loop_lag_seconds_bucket", le="0.2")
        assert late >= 7


@pytest.mark.timeout(120)
async def test_a_hostile_robot_and_strangers_add_no_label(tmp_path):
    """Whatever names, kinds and words arrive, label values come only from the code and from the admitted robots."""
    made = Keys(tmp_path, "reachy-1", "reachy-2")

    def garbage(n: int) -> list[bytes]:
        name, word = f"robot-{n}", secrets.token_hex(8)
        fields = {"v": 1, "kind": "mic", "robot": "reachy-2", "boot": secrets.token_hex(8), "seq": n, "t_us": 1, "samples": 1}
        kinds = [
            {"kind": word},
            {"robot": name},
            {"v": n + 2},
            {"t_us": word},
            {"boot": secrets.token_hex(8)},
            {"kind": "beat"},
        ]
        topic = (b"reachy-2/up", name.encode() + b"/up", word.encode())[n % 3]
        return [topic, json.dumps(fields | kinds[n % len(kinds)]).encode(), word.encode() * (n % 4)]

    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(made, lambda *_: MockVoice()))
        port = await stack.enter_async_context(asked(hub))
        victim = await stack.enter_async_context(running_robot(made.robot("reachy-1"), hub.bound))
        await victim.welcomed()
        hostile = RobotEnd(made.robot("reachy-2"), Address("127.0.0.1", *hub.bound[1:]), lambda _: None, lambda _: None)
        stack.callback(hostile.close)
        strangers = [made.robot(f"stranger-{n}") for n in range(5)]
        for stranger in strangers:
            end = RobotEnd(stranger, Address("127.0.0.1", *hub.bound[1:]), lambda _: None, lambda _: None)
            stack.callback(end.close)

        def count() -> int:
            return sum(n for (_, peer), n in hub.tally.counts.items() if peer == "reachy-2")

        await victim.desk.until(lambda: hostile._up.send_multipart(garbage(0)) or count())
        for batch in range(3):
            before = count()
            for n in range(batch * 60, batch * 60 + 60):
                hostile._up.send_multipart(garbage(n))
            await victim.desk.until(lambda before=before: count() >= before + 60)
            scrape = await port.scrape()
            assert list(problems(scrape)) == []
            assert "reachy-2" in {sample.labels["robot"] for sample in scrape.samples("reachylink_drops_total")}
            assert scrape.labels("robot") <= {"", "reachy-1", "reachy-2"}
            assert scrape.labels("cause") <= CAUSES
            assert hub.tally.total("key") > 0, "the strangers have knocked"


CAUSES = set(RobotStats().endings) | set(RobotStats().robot_drops)
CAUSES |= {word for words in get_args(LinkCause) for word in get_args(words)}
"""From the table of errors in ``docs/link.md``."""
