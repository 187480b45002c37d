"""How a robot moves: poses as functions of time, limits that always hold, and what is on top of what. Pure."""
