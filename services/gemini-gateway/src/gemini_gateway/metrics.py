"""The Gemini voices' part of a gateway's metrics; ``docs/operations.md`` lists them."""

from collections.abc import Collection, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gemini_gateway.session.decisions import SessionPhase
from gemini_gateway.voice import GeminiVoice
from gemini_gateway.voices import Voices
from reachy_gateway.provider.usage import KINDS, Account


def metrics_of(voices: Voices, robots: Collection[str]) -> Iterator[Metric]:
    """The metrics of these robots, and of all robots together. Called from another thread, so it only reads."""
    made = dict(voices.voices)
    talking = {robot: made[robot] for robot in robots if robot in made}
    yield GaugeMetricFamily("reachylink_gemini_down", "1 while Gemini is known not to answer.", voices.down)
    yield GaugeMetricFamily("reachylink_loop_busy_ratio", "The share of time in which the event loop works.", voices.load.busy)
    full = "1 while new robots are turned away, because the event loop has no time left."
    yield GaugeMetricFamily("reachylink_full", full, voices.load.full)
    message_s = voices.load.message_ms / 1000
    yield GaugeMetricFamily("reachylink_mic_message_seconds", "How much mic audio one message to Gemini holds.", message_s)
    yield from _of_sessions(talking)
    events = CounterMetricFamily("reachylink_gemini_events", "Events of sessions, by cause.", labels=["robot", "cause"])
    for (cause, robot), count in dict(voices.tally.counts).items():
        if robot in robots:
            events.add_metric([robot, cause], count)
    yield events
    yield from _of_the_books(voices, robots)


def _of_sessions(talking: dict[str, GeminiVoice]) -> Iterator[Metric]:
    phase = GaugeMetricFamily("reachylink_gemini_session", "1 for the phase that the session is in.", labels=["robot", "phase"])
    gaps = HistogramMetricFamily(
        "reachylink_gemini_gap_seconds", "From the end of a connection to the next one.", labels=["robot", "planned"]
    )
    ended = CounterMetricFamily(
        "reachylink_gemini_reconnects",
        "Connections to Gemini that replaced another, by why the other ended.",
        labels=["robot", "cause"],
    )
    queue = GaugeMetricFamily("reachylink_mic_queue_seconds", "Mic audio that waits to be sent.", labels=["robot"])
    dropped = CounterMetricFamily("reachylink_mic_dropped_seconds", "Mic audio that waited too long.", labels=["robot"])
    for robot, voice in talking.items():
        for known in SessionPhase:
            phase.add_metric([robot, known.name.lower()], known is voice.session.phase)
        for cause, count in voice.reconnects.counts.items():
            ended.add_metric([robot, cause], count)
        for planned, seconds in voice.reconnects.seconds.items():
            gaps.add_metric([robot, planned], seconds.cumulative(), seconds.total)
        queue.add_metric([robot], voice.session.waiting_ms / 1000)
        dropped.add_metric([robot], voice.session.dropped_ms / 1000)
    yield from (phase, gaps, ended, queue, dropped)


def _of_the_books(voices: Voices, robots: Collection[str]) -> Iterator[Metric]:
    tokens = CounterMetricFamily("reachylink_tokens", "Tokens since the gateway started, by kind.", labels=["robot", "kind"])
    cost = CounterMetricFamily("reachylink_cost_dollars", "Cost since the gateway started.", labels=["robot"])
    tokens_today = GaugeMetricFamily("reachylink_tokens_today", "Tokens since midnight, by kind.", labels=["robot", "kind"])
    cost_today = GaugeMetricFamily("reachylink_cost_dollars_today", "Cost since midnight.", labels=["robot"])
    budget = GaugeMetricFamily("reachylink_budget_dollars", "The budget for a day, if there is one.", labels=["robot"])
    today = voices.accounts()
    for accounts, tokens_of, cost_of in ((dict(voices.totals), tokens, cost), (today, tokens_today, cost_today)):
        for robot in robots:
            account = accounts.get(robot) or Account()
            for kind in KINDS:
                tokens_of.add_metric([robot, kind], account.tokens[kind])
            cost_of.add_metric([robot], float(account.cost))
    for robot in robots:
        if (dollars := voices.persona(robot).budget_usd_per_day) is not None:
            budget.add_metric([robot], float(dollars))
    yield from (tokens, cost, tokens_today, cost_today, budget)
    spent = float(sum(account.cost for account in today.values()))
    yield GaugeMetricFamily("reachylink_gateway_cost_dollars_today", "Cost since midnight of all robots that talked.", spent)
    if voices.elsewhere.heard:
        words = "Cost since midnight of all robots of the fleet, as far as this gateway knows."
        yield GaugeMetricFamily("reachylink_fleet_cost_dollars_today", words, float(voices.spent_by_all))
    if (dollars := voices.budget) is not None:
        yield GaugeMetricFamily("reachylink_gateway_budget_dollars", "The gateway's budget for a day.", float(dollars))
