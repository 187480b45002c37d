"""A robot in the browser, and whoever may see it."""

import reachy_link  # noqa: F401 - before numpy: it says how many threads that makes
