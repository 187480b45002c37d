"""Says how many threads numpy's library makes as it is imported: else one for each core of the host, whatever the limits."""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
