"""What a session's turns used: which counts are whose, and what a turn used at least whose counts are missing. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reachy_gateway.provider.usage import Modality, Tokens

LATE_S: Final = 2.0
"""Counts that come so soon after a turn are that turn's, be they its first or the same once more."""
TOKENS_PER_S: Final = 25
"""Of audio, each way: Google's Live guide, 2026-11-23."""
COUNT_MAX: Final = 10_000_000
"""More tokens than any turn has: a context holds 131,072. Such counts are no counts."""


@dataclass(frozen=True, slots=True)
class Bill:
    """A turn is over, and this is what it used."""

    tokens: Tokens
    estimated: bool = False
    """Whether counts were missing, and the sound was billed instead."""
    amends: bool = False
    """Whether this comes on top of the bill of the same turn."""


@dataclass(slots=True)
class _Turn:
    """One turn: the sound that went up and came down, and its newest counts."""

    sent_s: float = 0.0
    heard_s: float = 0.0
    spoken: bool = False
    """Whether any of what was sent was speech."""
    tokens: Tokens | None = None

    def count(self, tokens: Tokens) -> None:
        """Take newer counts: those of a turn grow, so what is no count, or less than before, says nothing."""
        before, now = self.tokens or Tokens(), _sane(tokens)
        prompt, reply = _higher(before.prompt, now.prompt), _higher(before.reply, now.reply)
        grew = prompt is now.prompt or reply is now.reply
        self.tokens = Tokens(prompt, reply, now.rest if grew or now.rest > before.rest else before.rest)

    def bill(self) -> list[Bill]:
        """What it used: the counts, and for a side without any the sound."""
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
    """Within a turn the last counts hold, and they may come shortly after its end.

    A turn is never billed for less than is known of it: no counts, counts of one side alone, and counts that cannot be are
    made up for by the sound.
    """

    def __init__(self) -> None:
        self._turn = _Turn()
        self._in_turn = False
        self._over: _Turn | None = None
        """The last turn, if it ended without counts and they may yet come."""
        self._over_at = float("-inf")
        """When the last turn ended."""
        self._billed = Tokens()
        """What the last turn was billed for."""

    def sent(self, seconds: float, *, speech: bool = True) -> None:
        """So much of the microphone has gone up that is billed."""
        self._turn.sent_s += seconds
        self._turn.spoken = self._turn.spoken or speech

    def heard(self, seconds: float) -> None:
        """So much of a reply has come."""
        self._turn.heard_s += seconds

    def used(self, tokens: Tokens, now: float) -> list[Bill]:
        """The server has told counts."""
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
        """There is something of a turn: what is still to be billed of the one before is billed."""
        self._in_turn = True
        return self._settle()

    def turn_over(self, now: float) -> list[Bill]:
        """The turn is over."""
        if self._over and not self._in_turn and not self._turn.tokens:
            return []  # said twice
        out = self._settle()
        self._in_turn, self._over_at = False, now
        turn, self._turn = self._turn, _Turn()
        if turn.tokens is None:
            self._over = turn
            return out
        return out + self._bill(turn)

    def due(self, now: float) -> list[Bill]:
        """What has waited for its counts for long enough: no more of them will come."""
        return self._settle() if self._over and now - self._over_at >= LATE_S else []

    def bill(self) -> list[Bill]:
        """Bill what there is: the connection is gone, or the robot."""
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
    """The counts without a side that cannot be."""
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
    """By how much counts are more than others; None if they are not."""
    prompt, reply = _beyond(tokens.prompt, than.prompt), _beyond(tokens.reply, than.reply)
    return Tokens(prompt, reply) if prompt or reply else None


def _beyond(counts: Mapping[Modality, int], known: Mapping[Modality, int]) -> Mapping[Modality, int]:
    """By how much one side is more; by kind, unless the kinds were told apart only later."""
    more = sum(counts.values()) - sum(known.values())
    by_kind: Mapping[Modality, int] = {kind: n for kind, count in counts.items() if (n := count - known.get(kind, 0)) > 0}
    if more <= 0:
        return {}
    return by_kind if sum(by_kind.values()) == more else {"audio": more}
