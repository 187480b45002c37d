"""Costs: as the server counted, to the cent, whatever happens to the connections; and what happens when a budget is spent."""

import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gemini_gateway.session.meter import Bill
from gemini_live_sim.actions import Abort, GoAway, Step
from gemini_live_sim.behaviour import Behaviour
from gemini_live_sim.server import serve
from gemini_live_sim.settings import SimSettings
from reachy_gateway.provider.usage import Tokens

QUICK = SimSettings(mode="tone", tone_ms=500, thinking_ms=100)
TWO = ("reachy-1", "reachy-2")
PRICES = {"prompt TEXT": "0.75", "prompt AUDIO": "3.00", "response AUDIO": "12.00"}
"""Dollars for a million tokens of gemini-3.8-live, from the price page."""
NAMES = {"prompt TEXT": "in_text", "prompt AUDIO": "in_audio", "response AUDIO": "out_audio"}


def reported(sessions) -> tuple[int, dict[str, int], Decimal]:
    """Turns, tokens and dollars of all turns that the simulator reported."""
    tokens: Counter[str] = Counter()
    reports = [report for session in sessions for report in session.usage]
    for report in reports:
        tokens.update({f"prompt {kind}": n for kind, n in report.prompt.items()})
        tokens.update({f"response {kind}": n for kind, n in report.response.items()})
    cost = sum((Decimal(PRICES[name]) * n for name, n in tokens.items()), Decimal(0)) / 1_000_000
    return len(reports), {NAMES[name]: n for name, n in tokens.items()}, cost


def booked(office, robot: str) -> tuple[int, dict[str, int], Decimal]:
    """Turns, tokens and dollars from the gateway's books."""
    account = office.books.account(office._today().date(), robot)
    return account.turns, {kind: n for kind, n in account.tokens.items() if n}, account.cost


def per_session(office) -> list[tuple[str, int]]:
    """Turns by robot and session, from the ledger."""
    return office._ledger._db.execute("SELECT robot, COUNT(*) FROM turns GROUP BY robot, session").fetchall()


async def test_tokens_and_cost_are_those_that_the_server_reported_after_reconnects_and_restarts(
    measured, talking, open_office, question
):
    async with serve(QUICK) as sim:
        office = open_office(sim, *TWO)
        async with talking(sim, *TWO, office=office) as (talk, neighbour):
            first = await talk.live()
            await talk.ask(question)
            await neighbour.ask(question)
            first.go_away(5.0)  # renewed
            await talk.until(lambda: len(talk.sessions) == 2)
            second = await talk.live()
            await talk.ask(question)
            usual, sim.behaviour = sim.behaviour, sim.behaviour.model_copy(update={"thinking_ms": 2000})
            second.do(Abort())  # lost
            await talk.until(lambda: len(talk.sessions) == 3)
            sim.behaviour = usual
            third = await talk.live()
            talk.say(question)
            await talk.until(lambda: len(talk.reply) > len(talk.answered) - 12000 and third.answers)
            third.do(Abort())  # lost before the first sound: unreported tokens cannot be booked
            await talk.until(lambda: len(talk.sessions) == 4)
            await talk.ask(question)
            third_turn = talk.sessions[3]
            third_turn.say(3000)
            await talk.until(lambda: third_turn.answers[-1].sent_bytes > 24000)
            talk.say(question)  # interrupted: a separate turn, and the answer to the interruption
            await talk.until(lambda: len(third_turn.usage) >= 3, 15)
            await talk.until(lambda: booked(office, "reachy-1")[0] == len([r for s in talk.sessions for r in s.usage]))
        turns, tokens, cost = reported(talk.sessions)
        measured(f"{turns} turns, {sum(tokens.values())} tokens, ${cost}")
        assert turns >= 5
        # After two losses in a short time the session was given up: there were two sessions, the first over three connections.
        assert [session.resumed for session in talk.sessions] == [False, True, True, False]
        first_turns, first_cost = reported(talk.sessions[:3])[0], reported(talk.sessions[:3])[2]
        assert sorted(per_session(office)) == sorted(
            [("reachy-1", first_turns), ("reachy-1", turns - first_turns), ("reachy-2", 1)]
        )
        assert office.books.session("reachy-1").cost == cost - first_cost
        for robot, sessions in (("reachy-1", talk.sessions), ("reachy-2", neighbour.sessions)):
            assert booked(office, robot) == reported(sessions)
        # A restarted gateway reads the same, and counts on.
        again = open_office(sim, *TWO)
        assert booked(again, "reachy-1") == (turns, tokens, cost)
        async with talking(sim, "reachy-1", office=again) as [talk]:
            await talk.ask(question)
            assert booked(again, "reachy-1") == reported(talk.sessions)
        assert booked(open_office(sim, *TWO), "reachy-1") == reported(talk.sessions)


async def test_counts_within_a_turn_are_not_added_to_those_at_its_end(talking, question):
    """Counts are cumulative: those in mid-answer are part of those at its end."""
    async with serve(SimSettings(mode="tone", tone_ms=2000, speed=1)) as sim, talking(sim) as talk:
        session = await talk.live()
        talk.say(question)
        for n in (1, 2):
            await talk.until(lambda n=n: len(talk.reply) > n * 24000)
            session.send_raw({"usageMetadata": {"promptTokenCount": 20, "responseTokenCount": 10 * n}})
        await talk.until(lambda: talk.turns == 1)
        assert len(session.usage) == 1
        assert booked(talk.office, "reachy-1") == reported(talk.sessions)


async def test_an_answer_in_several_turns_is_billed_turn_by_turn(talking, question):
    """Extended thinking: several turnComplete for one question, each with its own counts."""
    async with serve(SimSettings(mode="tone", tone_ms=900, replies=3, interaction_status=True)) as sim, talking(sim) as talk:
        await talk.live()
        talk.say(question)
        await talk.until(lambda: talk.turns == 3)
        assert len(sim.sessions[0].usage) == 3
        assert booked(talk.office, "reachy-1") == reported(talk.sessions)
        assert talk.reply == sim.sessions[0].answers[0].pcm


async def test_a_turn_is_booked_at_the_price_of_the_model_that_spoke_it(talking, open_office, robots_file, question):
    """When the turn ends, the persona has another model, but the connection had the old one."""
    dear = {"as_of": "2026-11-01", "in_text": 1000, "in_audio": 1000, "in_image": 1000, "out_text": 1000, "out_audio": 1000}
    prices = {"prices.dear": dear}
    robots_file(**prices)
    async with serve(QUICK) as sim:
        office = open_office(sim, file=robots_file(**prices))
        async with talking(sim, office=office) as talk:
            session = await talk.live()
            talk.say(question)
            await talk.until(lambda: talk.reply)
            robots_file(defaults={"model": "dear"}, **prices)
            office.reload()
            await talk.until(lambda: session.usage and booked(office, "reachy-1")[0] == 1)
            assert booked(office, "reachy-1") == reported([session])
            await talk.until(lambda: len(talk.sessions) == 2)
            await talk.ask(question)
            assert booked(office, "reachy-1")[2] > Decimal("0.05")


async def test_a_budget_that_is_reached_in_mid_turn_lets_the_turn_finish_then_says_why_and_goes_on_when_raised(
    measured, talking, open_office, robots_file, question
):
    """The gateway's budget: the neighbour spends it while the robot is in the middle of its answer."""
    long_answer = Behaviour(mode="tone", tone_ms=3000, speed=1)
    async with serve(QUICK) as sim:
        office = open_office(sim, file=robots_file(*TWO, gateway={"budget_usd_per_day": 0.0002}))
        sim.script([long_answer])
        async with talking(sim, "reachy-1", office=office) as [talk]:
            first = await talk.live()
            async with talking(sim, "reachy-2", office=office) as [neighbour]:
                await neighbour.live()
                neighbour.say(question)
                talk.say(question)
                await neighbour.until(lambda: neighbour.states == ["live", "refused"])
                assert talk.states == ["live"]
                assert not first.answers[0].complete, "in mid-turn"
            await talk.until(lambda: talk.states == ["live", "refused"])
            [answer] = first.answers
            assert talk.reply == answer.pcm == answer.sent, "the turn must finish"
            assert "the gateway's budget for today: " in talk.reasons
            assert "goes on tomorrow, or when the budget is raised" in talk.reasons
            measured(talk.standings[-1].reason)
            dials = len(sim.sessions)
            talk.say(question)
            await talk.never(lambda: len(sim.sessions) > dials, 2.0)
            robots_file(*TWO, gateway={"budget_usd_per_day": 5})
            office.reload()
            await talk.until(lambda: talk.states == ["live", "refused", "live"])
            await talk.ask(question)
            assert talk.sessions[-1].resumed
            assert booked(office, "reachy-1") == reported(talk.sessions)


async def test_a_budget_that_is_spent_is_there_again_on_the_next_day(talking, question):
    now = [datetime(2026, 11, 23, 23, 59, tzinfo=UTC)]
    async with serve(QUICK) as sim, talking(sim, settings={"budget_usd_per_day": 0.0002}, today=lambda: now[0]) as talk:
        await talk.live()
        await talk.ask(question)
        await talk.until(lambda: talk.states == ["live", "refused"])
        spent = talk.office.books.account(now[0].date(), "reachy-1")
        assert spent.cost == reported(talk.sessions)[2]
        now[0] += timedelta(minutes=1)
        await talk.until(lambda: talk.states == ["live", "refused", "live"])
        assert (await talk.live()).resumed
        assert talk.office.books.account(now[0].date(), "reachy-1").cost == 0


async def test_a_model_without_a_price_is_billed_as_the_default_one_and_that_is_said(talking, question, caplog):
    async with serve(QUICK) as sim, talking(sim, settings={"model": "gemini-4-live"}) as talk:
        await talk.live()
        await talk.ask(question)
        assert booked(talk.office, "reachy-1") == reported(talk.sessions)
        assert "the price of gemini-4-live is unknown: it is billed as gemini-3.8-live" in caplog.text


async def test_a_person_who_talks_on_without_a_pause_does_not_talk_a_budget_away(talking, question):
    """Each next question comes at once. The turn in progress finishes, but the next ones do not begin."""
    async with serve(QUICK) as sim, talking(sim, settings={"budget_usd_per_day": 0.0003}) as talk:
        await talk.live()
        over_at: list[int] = []

        def talks_on() -> bool:
            if not talk.saying:
                talk.say(question + bytes(19200))
            if not talk.office.verdict("reachy-1").allowed:
                over_at.append(talk.turns)
            return talk.states[-1] == "refused"

        await talk.until(talks_on, 20)
        assert talk.turns <= over_at[0] + 1


async def test_at_eighty_percent_there_is_one_warning_and_one_more_when_it_is_spent(open_office, caplog):
    """However many turns there are in between: the sum in the warning changes with each."""
    async with serve(QUICK) as sim:
        office = open_office(sim, settings={"budget_usd_per_day": 1.0})
        warned_after = []
        for turn in range(1, 101):
            office.bill("reachy-1", "s1", "gemini-3.8-live", Bill(Tokens({"audio": 3_400}, {})))  # a little above a cent
            before = len(caplog.records)
            allowed = office.verdict("reachy-1").allowed
            if len(caplog.records) > before:
                warned_after.append((turn, allowed))
        assert warned_after == [(79, True), (99, False)]


async def test_a_ledger_that_cannot_be_written_ends_no_conversation(talking, question, caplog):
    """A full disk: the turn stays in this start's books, and the failure is logged."""
    async with serve(QUICK) as sim, talking(sim) as talk:
        await talk.live()
        talk.office._ledger._db.execute("PRAGMA query_only = ON")
        await talk.ask(question)
        await talk.ask(question)
        assert talk.turns == 2
        assert booked(talk.office, "reachy-1") == reported(talk.sessions)
        assert "the ledger" in caplog.text
        with pytest.raises(sqlite3.OperationalError):
            talk.office._ledger._db.execute("DELETE FROM turns")


async def test_a_go_away_with_every_turn_costs_nothing_twice(talking, question):
    away = Step(on="audio_out", count=0, action=GoAway(time_left_s=3.0))
    async with serve(SimSettings(mode="tone", tone_ms=500, script=(away,))) as sim, talking(sim) as talk:
        await talk.live()
        for _ in range(2):
            connections = len(talk.sessions)
            await talk.ask(question)
            await talk.until(lambda n=connections: len(talk.sessions) > n)
        assert booked(talk.office, "reachy-1") == reported(talk.sessions)
        assert booked(talk.office, "reachy-1")[0] == 2
