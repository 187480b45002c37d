"""What the voices of a process share, and what they report to."""

from typing import Protocol

from gemini_gateway.burst_slot import BurstSlot
from gemini_gateway.personas import Persona
from gemini_gateway.running_tools import ToolHost
from gemini_gateway.session.meter import Bill
from reachy_gateway.provider.causes import SessionCause
from reachy_gateway.provider.circuit_breaker import CircuitBreaker
from reachy_gateway.provider.usage import Verdict
from reachy_gateway.voice import Said


class VoiceHost(ToolHost, Protocol):
    """What the voices of a process share, and what they report to."""

    burst_slot: BurstSlot

    @property
    def account(self) -> str:
        """Tells the server and the key from others, without telling what they are."""

    def persona(self, robot: str) -> Persona:
        """How the robot is to talk."""

    def breaker(self, model: str) -> CircuitBreaker:
        """Of the server, as the robots with this model know it."""

    def bill(self, robot: str, session: str, model: str, bill: Bill) -> None:
        """Book a turn."""

    def verdict(self, robot: str) -> Verdict:
        """What the budgets say."""

    def said(self, robot: str, said: Said, age_s: float) -> None:
        """Tell of a piece of transcript that is so old."""

    def count(self, robot: str, cause: SessionCause, words: str) -> None:
        """Count something, and tell of it."""
