"""A Reachy Mini, by its SDK."""
