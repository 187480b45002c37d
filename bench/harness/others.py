"""What other programs take of the cores that a bench measures on."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from harness.gateway import TICKS, cpu_s

OTHERS_MAX: Final = 0.15
"""A run is void in which other programs, or the hypervisor, took more than this share of a core. The kernel's own work and the
clock's ticks are up to 0.08 of it on a machine that does nothing else."""
LATE_MAX_MS: Final = 20.0
"""A run is void in which the load's own sends were later than this at p99: the robots were held up by the machine itself."""


class Others:
    """Counts from when it is made.

    Args:
        cores: Which.
        pids: Whose processor time is ours, beside this process's and its children's that have ended; all are on these cores.
    """

    def __init__(self, cores: Collection[int], pids: Collection[int] = ()) -> None:
        self._cores = {f"cpu{core}" for core in cores}
        self._pids = pids
        self._since_s = self._time_s()

    def taken_s(self) -> float:
        """For how long, in all, someone else had these cores."""
        return max(0.0, self._time_s() - self._since_s)

    def _time_s(self) -> float:
        """Processor time of these cores that is not ours, the hypervisor's included; the network's own work is nobody's."""
        busy = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in self._cores:
                user, nice, system, _idle, _iowait, irq, _softirq, steal = map(int, ticks[:8])
                busy += user + nice + system + irq + steal
        ours = os.times()
        return busy / TICKS - sum(map(cpu_s, self._pids)) - sum(ours[:4])
