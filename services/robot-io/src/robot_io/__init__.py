"""The robot's end of Reachy Link: it moves samples between a device and the link, and knows nothing of Gemini."""

import reachy_link  # noqa: F401 - before numpy: it limits numpy's threads
