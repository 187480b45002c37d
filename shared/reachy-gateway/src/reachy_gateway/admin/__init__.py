"""The admin port: what operators see of the robots, and what they can have done; see ``docs/admin.md``."""
