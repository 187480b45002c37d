"""The parts that both ends of the link share: messages, wire codec, identity and keys, sockets, clock."""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
"""When numpy is imported, its linear algebra library starts a thread for each core of the host. If these are too many for the
limit of a container or user, the process ends. Our arrays are too small to share out. So every package imports this one before
numpy."""
