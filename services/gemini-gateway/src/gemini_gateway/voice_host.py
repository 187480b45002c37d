"""The port through which the voices of a process reach what they share, and report."""

from typing import Protocol

from gemini_gateway.burst_slot import BurstSlot
from gemini_gateway.personas import Persona
from gemini_gateway.running_tools import ToolHost
from gemini_gateway.session.meter import Bill
from reachy_gateway.provider.causes import SessionCause
from reachy_gateway.provider.circuit_breaker import CircuitBreaker
from reachy_gateway.provider.reconnects import Gap
from reachy_gateway.provider.usage import Verdict
from reachy_gateway.voice import Said


class VoiceHost(ToolHost, Protocol):
    """What the voices of a process share, and where they report."""

    burst_slot: BurstSlot

    @property
    def account(self) -> str:
        """A digest of the server and the key, from which neither can be read."""

    def persona(self, robot: str) -> Persona:
        """The robot's persona."""

    def breaker(self, model: str) -> CircuitBreaker:
        """The circuit breaker for this model, shared by the robots that use the model."""

    def bill(self, robot: str, session: str, model: str, bill: Bill) -> None:
        """Book the tokens of a turn."""

    def verdict(self, robot: str) -> Verdict:
        """Whether the budgets let the robot talk."""

    def said(self, robot: str, said: Said, age_s: float) -> None:
        """Publish a piece of transcript that came ``age_s`` seconds ago."""

    def count(self, robot: str, cause: SessionCause, words: str) -> None:
        """Count an event of the robot's session under its cause, and publish it."""

    def reconnected(self, robot: str, gap: Gap | None) -> None:
        """Publish that a connection is open, if it ends a gap."""
