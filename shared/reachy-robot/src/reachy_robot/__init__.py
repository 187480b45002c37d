"""A robot's end of the link, for any microphone and speaker: its decisions, and the loops that carry them out."""

import reachy_link  # noqa: F401 - before numpy: it limits numpy's threads
