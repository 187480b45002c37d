"""How much of the measured cores other programs use."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from harness.gateway import TICKS, cpu_s

OTHERS_MAX: Final = 0.15
"""A run is void if other programs or the hypervisor took more than this share of a core. On an idle machine the kernel's own
work and timer ticks are up to 0.08."""
LATE_MAX_MS: Final = 20.0
"""A run is void if the load generator's own sends were later than this at p99: then the machine itself delayed the robots."""


class Others:
    """Counts processor time that others used, from its creation on.

    Args:
        cores: The cores to watch.
        pids: Processes that count as ours, beside this process and its children that have ended. All run on these cores.
    """

    def __init__(self, cores: Collection[int], pids: Collection[int] = ()) -> None:
        self._cores = {f"cpu{core}" for core in cores}
        self._pids = pids
        self._since_s = self._time_s()

    def taken_s(self) -> float:
        """How long, in all, other programs had these cores."""
        return max(0.0, self._time_s() - self._since_s)

    def _time_s(self) -> float:
        """Processor time of these cores that is not ours, with the hypervisor's. Softirq (network) time counts for nobody."""
        busy = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in self._cores:
                user, nice, system, _idle, _iowait, irq, _softirq, steal = map(int, ticks[:8])
                busy += user + nice + system + irq + steal
        ours = os.times()
        return busy / TICKS - sum(map(cpu_s, self._pids)) - sum(ours[:4])
