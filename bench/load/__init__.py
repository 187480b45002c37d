"""What the density and storm benches load a gateway with, as cheap as can be so that it is not what is measured."""
