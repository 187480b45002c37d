"""What every gateway does, whichever voice it has."""

import reachy_link  # noqa: F401 - before numpy: it limits numpy's threads
