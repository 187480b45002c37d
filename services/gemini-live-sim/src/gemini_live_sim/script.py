"""Finds the steps of a script that an event starts."""

from collections import Counter
from collections.abc import Sequence

from gemini_live_sim.actions import Step, Trigger


class Script:
    """Counts events and finds the steps that wait for them."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps: dict[Trigger, list[Step]] = {}
        for step in steps:
            self._steps.setdefault(step.on, []).append(step)
        self._counts: Counter[Trigger] = Counter()

    def happened(self, event: Trigger) -> list[Step]:
        """Count an event; return the steps that it starts, in the order of the script."""
        steps = self._steps.get(event)
        if not steps:
            return []
        self._counts[event] += 1
        return [step for step in steps if step.count in (0, self._counts[event])]
