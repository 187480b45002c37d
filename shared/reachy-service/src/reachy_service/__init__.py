"""The parts that every process has: settings, logs, health, and the program that makes keys."""

import reachy_link  # noqa: F401 - before numpy: it limits numpy's threads
