"""A gateway with a deterministic voice."""

import reachy_link  # noqa: F401 - before numpy: it says how many threads that makes
