"""Several gateways that remember together, by a store; ``docs/fleet.md`` and ``docs/store.md``."""
