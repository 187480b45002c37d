"""What a model may do besides talking: the tools' port, the gateway's own tools, and the code that runs them."""
