"""robot-io's settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from reachy_link.address import ANY, Address, listening, parse
from reachy_service.config import Settings


class RobotSettings(Settings):
    """Settings from the environment, each with the prefix ``ROBOT_``."""

    model_config = SettingsConfigDict(env_prefix="ROBOT_")

    device: Literal["wav", "reachy"] = "reachy"
    """``reachy`` is the real robot, ``wav`` a virtual one."""
    up_port: int = Field(default=5555, ge=1, le=65535)
    down_port: int = Field(default=5556, ge=1, le=65535)
    gateway: str = "127.0.0.1"
    """The gateways' addresses, with commas: ``host``, ``host:UP`` or ``host:UP+DOWN``. Without ports, the two ports above are
    used."""
    gateway_order: Literal["spread", "given"] = "spread"
    """The order in which gateways are tried: ``spread`` is an order of the robot's own, so that a fleet's robots spread evenly;
    ``given`` is the order of the list."""
    gateways_file: Path = Path("~/.local/share/reachy-link/gateways")
    """The file in which the robot remembers gateways that it has learned of, one a line, for when no gateway of the list
    serves."""
    half_duplex: bool = False
    """Send silence while the robot speaks: for a robot that would hear itself."""
    half_duplex_tail_ms: int = Field(default=300, ge=0, le=5000)
    daemon_host: str | None = None
    """``reachy``: the host of the robot's daemon, if not this machine."""
    daemon_port: int = Field(default=8000, ge=1, le=65535)
    show_transcripts: bool = False
    """Log the transcript of both sides."""
    utterances: Path = Path("utterances")
    """``wav``: a folder of WAV files, which the robot speaks in the order of their names."""
    speaker_wav: Path = Path("out/speaker.wav")
    """``wav``: the file in which the speaker's audio is recorded."""
    patience_s: float = Field(default=30.0, gt=0, le=3600)
    """``wav``: how long an answer may take to end before the next utterance; a short time makes the robot barge in."""
    body: Literal["auto", "off"] = "auto"
    """Whether the robot's body moves, if it has one."""
    moves_dir: Path | None = None
    """A folder of recorded moves, in the JSON of the SDK's recorder. Each move is one more gesture."""
    motion_file: Path | None = Path("out/motion.jsonl")
    """``wav``: the file of the body's poses; a picture of them is written beside it."""
    push_to_talk: bool = False
    """``wav``: hold the talk button during each utterance, for a persona with manual VAD."""

    @field_validator("gateway")
    @classmethod
    def _can_be_read(cls, text: str, info: ValidationInfo) -> str:
        parse(text, info.data.get("up_port", 5555), info.data.get("down_port", 5556))
        return text

    @field_validator("daemon_host")
    @classmethod
    def _daemon_can_be_asked(cls, text: str | None) -> str | None:
        if text is not None and listening(text) == ANY:
            raise ValueError("the daemon runs on one host, so its address cannot be *")
        return text

    def addresses(self) -> list[Address]:
        """The gateways' addresses in the order of the list."""
        return parse(self.gateway, self.up_port, self.down_port)
