"""The admin port: what an operator sees of the robots, and what an operator may have done. ``docs/admin.md``."""
