"""A robot of WAV files."""
