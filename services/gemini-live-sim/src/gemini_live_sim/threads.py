"""Limits the threads of numpy's BLAS library to one. By default it starts one per host core and ignores a container's limit."""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
