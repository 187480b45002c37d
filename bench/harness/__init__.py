"""What all benches share: robots, gateways, measurements and results."""
