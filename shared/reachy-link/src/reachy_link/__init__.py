"""What both ends of the robot link agree on: messages, wire codec, identity and keys, sockets, clock."""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
"""numpy's library makes a thread for each core of the host as it is imported, and the process ends where these are too many
for a container's or a user's limit. Our arrays are too small to share out. Every package imports this one before numpy."""
