"""A gateway with a deterministic voice."""

import reachy_link  # noqa: F401 - import before numpy: it sets how many threads numpy makes
