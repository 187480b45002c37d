"""One robot's conversation: turns, pace, speech, sound. Pure."""
