"""What a model may do beside talking: the port, the gateway's own tools, and what runs them."""
