"""What every gateway does, whatever voice it has."""

import reachy_link  # noqa: F401 - before numpy: it says how many threads that makes
