"""A robot's movement: poses as functions of time, limits that always hold, and how movements are combined. Pure."""
