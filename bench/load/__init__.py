"""The load of the density and storm benches, as cheap as possible: they measure the gateway, not the load."""
