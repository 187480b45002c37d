"""A virtual robot, made of WAV files."""
