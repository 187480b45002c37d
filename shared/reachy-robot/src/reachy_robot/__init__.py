"""A robot's end of the link, whatever its microphone and speaker: what it decides, and the loops around that."""

import reachy_link  # noqa: F401 - before numpy: it says how many threads that makes
