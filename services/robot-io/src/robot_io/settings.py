"""robot-io's settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from reachy_link.address import ANY, Address, listening, parse
from reachy_service.config import Settings


class RobotSettings(Settings):
    """From the environment, each with the prefix ``ROBOT_``."""

    model_config = SettingsConfigDict(env_prefix="ROBOT_")

    device: Literal["wav", "reachy"] = "reachy"
    """``wav`` is a virtual robot, ``reachy`` the real one."""
    up_port: int = Field(default=5555, ge=1, le=65535)
    down_port: int = Field(default=5556, ge=1, le=65535)
    gateway: str = "127.0.0.1"
    """Where the gateways listen, with commas: ``host``, ``host:UP`` or ``host:UP+DOWN``; the ports above if not given."""
    gateway_order: Literal["spread", "given"] = "spread"
    """In which order they are tried: ``spread`` is one of the robot's own, so that a fleet spreads."""
    gateways_file: Path = Path("~/.local/share/reachy-link/gateways")
    """Where the robot remembers gateways that it was told of, one a line, for when none of these serves."""
    half_duplex: bool = False
    """Send silence while the robot speaks: for a robot that would hear itself."""
    half_duplex_tail_ms: int = Field(default=300, ge=0, le=5000)
    daemon_host: str | None = None
    """``reachy``: where the robot's daemon runs, if not on this machine."""
    daemon_port: int = Field(default=8000, ge=1, le=65535)
    show_transcripts: bool = False
    """Log what was said on both sides."""
    utterances: Path = Path("utterances")
    """``wav``: a folder of WAV files, spoken in the order of their names."""
    speaker_wav: Path = Path("out/speaker.wav")
    """``wav``: where what the speaker plays is recorded."""
    patience_s: float = Field(default=30.0, gt=0, le=3600)
    """``wav``: how long an answer may take to end before the next utterance; short means barge-in."""
    body: Literal["auto", "off"] = "auto"
    """Whether the robot's body moves, where it has one."""
    moves_dir: Path | None = None
    """A folder of recorded moves, in the JSON of the SDK's recorder: each is one more gesture."""
    motion_file: Path | None = Path("out/motion.jsonl")
    """``wav``: where the body's poses are written, with a picture beside it."""
    push_to_talk: bool = False
    """``wav``: hold the button to talk while an utterance is spoken, for a persona whose VAD is manual."""

    @field_validator("gateway")
    @classmethod
    def _can_be_read(cls, text: str, info: ValidationInfo) -> str:
        parse(text, info.data.get("up_port", 5555), info.data.get("down_port", 5556))
        return text

    @field_validator("daemon_host")
    @classmethod
    def _daemon_can_be_asked(cls, text: str | None) -> str | None:
        if text is not None and listening(text) == ANY:
            raise ValueError("the daemon runs at one host, not at all")
        return text

    def addresses(self) -> list[Address]:
        """The gateways, as they were given."""
        return parse(self.gateway, self.up_port, self.down_port)
