"""Gives the robots of Reachy Link a voice by Gemini Live."""

import reachy_link  # noqa: F401 - before numpy: it says how many threads that makes
