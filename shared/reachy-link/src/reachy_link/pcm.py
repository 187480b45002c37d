"""PCM audio: its format, and the conversion between s16le bytes and float32 samples."""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Samples = npt.NDArray[np.float32]
"""float32 samples of shape ``(n, channels)``, nominally within -1..1."""

CHUNK_MS = 20
"""How much audio one message on the link usually carries, in either direction."""
LONG_CHUNK_MS = 40
"""How much audio one message carries when the gateway has many robots or hardly any time left."""
JITTER_TARGET_MS = 60
"""How much of a turn a robot collects before it plays, against jitter on the link. A gateway runs ahead by more than this."""

SAMPLE_BYTES = 2
FULL_SCALE = 32768.0


class Format(BaseModel):
    """Rate and channel count of PCM audio; the sample type on the link is always s16le, interleaved."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    rate_hz: int = Field(ge=8000, le=48000)
    channels: int = Field(ge=1, le=2)

    def chunk_samples(self, ms: int = CHUNK_MS) -> int:
        """Samples per channel in a chunk of this many ms."""
        return self.rate_hz * ms // 1000

    def pcm_bytes(self, samples: int) -> int:
        """The size of this many samples per channel, in bytes."""
        return samples * self.channels * SAMPLE_BYTES

    def ms(self, samples: int) -> float:
        """How long this many samples per channel last."""
        return samples * 1000.0 / self.rate_hz


def to_pcm16(samples: Samples) -> bytes:
    """Interleaved s16le of float32 samples. Values beyond full scale are clipped, never wrapped, and NaN becomes silence."""
    if np.count_nonzero(np.isnan(samples)):
        samples = np.nan_to_num(samples, nan=0.0)
    scaled = np.maximum(samples, -1.0)  # np.clip takes three times as long for arrays this small
    np.minimum(scaled, 1.0, out=scaled)
    scaled *= FULL_SCALE
    np.rint(scaled, out=scaled)
    np.minimum(scaled, FULL_SCALE - 1, out=scaled)
    pcm: bytes = scaled.astype("<i2").tobytes()
    return pcm


def from_pcm16(pcm: bytes, channels: int) -> Samples:
    """float32 samples ``(n, channels)`` of interleaved s16le.

    Raises:
        ValueError: If the bytes are not a whole number of samples of that many channels.
    """
    return np.frombuffer(pcm, dtype="<i2").reshape(-1, channels).astype(np.float32) / np.float32(FULL_SCALE)
