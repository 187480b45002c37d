"""When a connection ends by age, and how."""

from collections.abc import Iterator

from gemini_live_sim.actions import DEADLINE, Close, GoAway
from gemini_live_sim.behaviour import Behaviour


def plan_end(behaviour: Behaviour, now: float, born: float, *, compressed: bool) -> Iterator[tuple[float, GoAway | Close]]:
    """Plan the goAway and the close of a connection that opens now, in a session that began at ``born``."""
    ends = [now + behaviour.max_age_s] if behaviour.max_age_s is not None else []
    if behaviour.session_limit_s is not None and not compressed:
        ends.append(born + behaviour.session_limit_s)
    if not ends:
        return
    end = max(min(ends), now)
    if behaviour.go_away_left_s is not None:
        # A connection that lives shorter than the notice gets goAway at once, with the remaining time.
        left_s = min(behaviour.go_away_left_s, end - now)
        yield end - left_s, GoAway(time_left_s=round(left_s, 3))
    if behaviour.close_at_max_age:
        yield end, Close(code=1011, reason=DEADLINE)
