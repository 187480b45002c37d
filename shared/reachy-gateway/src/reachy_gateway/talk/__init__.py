"""One robot's conversation: turns, pacing, speech detection and audio conversion. Pure."""
