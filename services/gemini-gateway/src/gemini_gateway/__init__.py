"""Gives the robots of Reachy Link a voice through Gemini Live."""

import reachy_link  # noqa: F401 - import before numpy: it sets how many threads numpy makes
