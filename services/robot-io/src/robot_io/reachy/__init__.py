"""A Reachy Mini, through its SDK."""
