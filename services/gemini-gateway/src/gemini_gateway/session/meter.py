"""The tokens of a session's turns: assigns counts to turns, and estimates a turn whose counts are missing. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reachy_gateway.provider.usage import Modality, Tokens

LATE_S: Final = 2.0
"""Counts that come this soon after a turn belong to that turn, whether they are its first or a repetition."""
TOKENS_PER_S: Final = 25
"""Tokens for a second of audio, in each direction (Google's Live guide, 2026-11-23)."""
COUNT_MAX: Final = 10_000_000
"""Higher counts are ignored: no turn has so many tokens, as a context holds 131,072."""


@dataclass(frozen=True, slots=True)
class Bill:
    """The tokens of a turn that is over."""

    tokens: Tokens
    estimated: bool = False
    """Whether counts were missing, so that the audio was billed instead."""
    amends: bool = False
    """Whether this is added to an earlier bill of the same turn."""


@dataclass(slots=True)
class _Turn:
    """One turn: the seconds of audio sent and received, and the newest counts."""

    sent_s: float = 0.0
    heard_s: float = 0.0
    spoken: bool = False
    """Whether any of the sent audio was speech."""
    tokens: Tokens | None = None

    def count(self, tokens: Tokens) -> None:
        """Take newer counts. Counts grow within a turn, so impossible and lower counts are ignored."""
        before, now = self.tokens or Tokens(), _sane(tokens)
        prompt, reply = _higher(before.prompt, now.prompt), _higher(before.reply, now.reply)
        grew = prompt is now.prompt or reply is now.reply
        self.tokens = Tokens(prompt, reply, now.rest if grew or now.rest > before.rest else before.rest)

    def bill(self) -> list[Bill]:
        """Bill the turn by its counts, and a side without counts by its audio."""
        counts = self.tokens or Tokens()
        reply = counts.reply or _sound(self.heard_s)
        rest = max(0, counts.rest - (0 if counts.reply else sum(reply.values())))
        prompt = counts.prompt or _sound(max(self.sent_s, rest / TOKENS_PER_S))
        if counts.prompt and rest:
            prompt = {**prompt, "audio": prompt.get("audio", 0) + rest}
        if not (prompt or reply):
            return []
        return [Bill(Tokens(prompt, reply), estimated=prompt != counts.prompt or reply != counts.reply)]


class Meter:
    """Bills each turn by the last counts that came within it, or shortly after its end.

    A turn is never billed for less than is known. Where the counts of one side or of both are missing or impossible, that
    side is billed by its audio.
    """

    def __init__(self) -> None:
        self._turn = _Turn()
        self._in_turn = False
        self._over: _Turn | None = None
        """The last turn, if it ended without counts and the counts may still come."""
        self._over_at = float("-inf")
        """When the last turn ended."""
        self._billed = Tokens()
        """What the last turn was billed for."""

    def sent(self, seconds: float, *, speech: bool = True) -> None:
        """Add seconds of mic audio that were sent and are billed."""
        self._turn.sent_s += seconds
        self._turn.spoken = self._turn.spoken or speech

    def heard(self, seconds: float) -> None:
        """Add seconds of a reply that have come."""
        self._turn.heard_s += seconds

    def used(self, tokens: Tokens, now: float) -> list[Bill]:
        """Take counts that the server has sent."""
        out = self.due(now)
        if self._over:
            self._over.count(tokens)
        elif self._in_turn or self._turn.spoken or now - self._over_at >= LATE_S:
            self._turn.count(tokens)
        elif more := _more(_sane(tokens), self._billed):
            self._billed = _sane(tokens)
            out.append(Bill(more, amends=True))
        return out

    def turn_goes_on(self) -> list[Bill]:
        """A piece of a turn has come: bill the turn before, if it still waits for its counts."""
        self._in_turn = True
        return self._settle()

    def turn_over(self, now: float) -> list[Bill]:
        """The turn is over."""
        if self._over and not self._in_turn and not self._turn.tokens:
            return []  # the server has said this twice
        out = self._settle()
        self._in_turn, self._over_at = False, now
        turn, self._turn = self._turn, _Turn()
        if turn.tokens is None:
            self._over = turn
            return out
        return out + self._bill(turn)

    def due(self, now: float) -> list[Bill]:
        """Bill the last turn if it has waited for its counts long enough."""
        return self._settle() if self._over and now - self._over_at >= LATE_S else []

    def bill(self) -> list[Bill]:
        """Bill everything that is not billed yet, because the connection or the robot is gone."""
        out = self._settle()
        turn, self._turn = self._turn, _Turn()
        if self._in_turn or turn.tokens:
            out += self._bill(turn)
        self._in_turn, self._over_at = False, float("-inf")
        return out

    def _settle(self) -> list[Bill]:
        over, self._over = self._over, None
        return self._bill(over) if over else []

    def _bill(self, turn: _Turn) -> list[Bill]:
        out = turn.bill()
        self._billed = out[0].tokens if out else Tokens()
        return out


def _sane(tokens: Tokens) -> Tokens:
    """The counts without a side whose numbers are impossible."""
    prompt, reply = (
        side if all(0 <= count <= COUNT_MAX for count in side.values()) else {} for side in (tokens.prompt, tokens.reply)
    )
    return Tokens(prompt, reply, tokens.rest if 0 <= tokens.rest <= COUNT_MAX else 0)


def _higher(before: Mapping[Modality, int], now: Mapping[Modality, int]) -> Mapping[Modality, int]:
    return now if now and sum(now.values()) >= sum(before.values()) else before


def _sound(seconds: float) -> Mapping[Modality, int]:
    tokens = round(seconds * TOKENS_PER_S)
    return {"audio": tokens} if tokens else {}


def _more(tokens: Tokens, than: Tokens) -> Tokens | None:
    """The tokens that ``tokens`` has beyond ``than``; None if there are none."""
    prompt, reply = _beyond(tokens.prompt, than.prompt), _beyond(tokens.reply, than.reply)
    return Tokens(prompt, reply) if prompt or reply else None


def _beyond(counts: Mapping[Modality, int], known: Mapping[Modality, int]) -> Mapping[Modality, int]:
    """The tokens of one side beyond the known ones: by kind, or as audio if the kinds do not add up."""
    more = sum(counts.values()) - sum(known.values())
    by_kind: Mapping[Modality, int] = {kind: n for kind, count in counts.items() if (n := count - known.get(kind, 0)) > 0}
    if more <= 0:
        return {}
    return by_kind if sum(by_kind.values()) == more else {"audio": more}
