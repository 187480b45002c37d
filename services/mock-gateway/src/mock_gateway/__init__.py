"""A gateway with a deterministic voice."""
