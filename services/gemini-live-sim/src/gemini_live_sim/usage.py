"""Token counts as the server reports them: every turn counts the whole context again."""

import math
from collections import Counter
from dataclasses import dataclass, field

from gemini_live_sim.behaviour import UsageShape
from gemini_live_sim.setup import Compression
from gemini_live_sim.wire import Json

AUDIO_TOKENS_PER_S = 25
_CHARS_PER_TOKEN = 4
CONTEXT_TOKENS = 131_072
"""The size of the model's context window. Beyond this, old audio is forgotten."""
MAX_COUNT = 2**31 - 1
"""The largest count that the API's 32 bits hold."""


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The bill of one turn: tokens by modality, ``TEXT`` and ``AUDIO``."""

    turn: int
    prompt: dict[str, int]
    response: dict[str, int]

    @property
    def total(self) -> int:
        """The tokens of prompt and response together."""
        return sum(self.prompt.values()) + sum(self.response.values())

    def as_json(self, shape: UsageShape = "full") -> Json | None:
        """The ``usageMetadata`` of a server message; None if the message has none."""
        if shape == "none":
            return None
        if shape == "total":
            return {"totalTokenCount": self.total}
        if shape in ("negative", "huge"):
            return UsageReport(self.turn, *(_distorted(side, shape) for side in (self.prompt, self.response))).as_json()
        answer = "candidates" if shape == "candidates" else "response"
        return {
            "promptTokenCount": sum(self.prompt.values()),
            f"{answer}TokenCount": sum(self.response.values()),
            "totalTokenCount": min(self.total, MAX_COUNT),
            "promptTokensDetails": _details(self.prompt),
            f"{answer}TokensDetails": _details(self.response),
        }


@dataclass
class UsageMeter:
    """Counts the tokens of the context."""

    context: Counter[str] = field(default_factory=Counter)
    """Tokens by modality; every later turn is billed for them again."""

    def hear(self, seconds: float) -> None:
        """Count audio from the client."""
        self.context["AUDIO"] += math.ceil(seconds * AUDIO_TOKENS_PER_S)

    def read(self, text: str) -> None:
        """Count text from the client."""
        self.context["TEXT"] += math.ceil(len(text) / _CHARS_PER_TOKEN)

    def bill(self, turn: int, answer_s: float, compression: Compression | None) -> UsageReport:
        """Make the report of a turn with an answer of this length. The answer joins the context."""
        response = {"AUDIO": math.ceil(answer_s * AUDIO_TOKENS_PER_S)}
        report = UsageReport(turn, {name: n for name, n in self.context.items() if n}, response)
        self.context.update(response)
        if compression and self.context.total() > compression.trigger_tokens:
            self._shrink(compression.target_tokens)
        self._shrink(CONTEXT_TOKENS)
        return report

    def _shrink(self, target_tokens: int) -> None:
        """Forget as much audio as needed. Text stays, because it is mostly the system instruction."""
        excess = self.context.total() - target_tokens
        if excess > 0:
            self.context["AUDIO"] = max(self.context["AUDIO"] - excess, 0)


def _distorted(tokens: dict[str, int], shape: UsageShape) -> dict[str, int]:
    return {name: -n if shape == "negative" else MAX_COUNT for name, n in tokens.items()}


def _details(tokens: dict[str, int]) -> list[Json]:
    return [{"modality": name, "tokenCount": n} for name, n in tokens.items() if n]
