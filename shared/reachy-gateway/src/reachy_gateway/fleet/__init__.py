"""Several gateways that share what they remember, through a store; see ``docs/fleet.md`` and ``docs/store.md``."""
