"""The console: a web page with a robot to talk to and a view of the fleet."""

import reachy_link  # noqa: F401 - before numpy: it sets the number of numpy's threads
