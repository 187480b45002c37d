"""How far the server is with its turn, on one connection. Pure."""

from dataclasses import dataclass

from reachy_gateway.talk.turns import LEFTOVERS_S


@dataclass(slots=True)
class ServerTurn:
    """Made anew for each connection."""

    progress_at: float
    """When the newest piece of an answer came, heard or not; or else the connection was opened."""
    sound_at: float
    """The same of what is heard, and of ends of turns."""
    last_turn: float
    """When the last turn was over; or else the connection was opened."""
    in_turn: bool = False
    generated: bool = False
    """Whether all of the reply has come; the end of its turn may be long in coming."""
    sounds_until: float = float("-inf")
    """When a speaker that began at once would be through with what has come of the reply; the turn's end comes no sooner."""
    working: bool = False
    """Whether another turn of the same answer is to come."""
    last_word: bool = False
    """Whether a turn has ended that began, or went on, after the budget was spent: the next one does not begin."""
    sounded: bool = False
    """Whether the turn has had a sound that a person hears."""
    interrupted: bool = False
    interrupted_at: float = float("-inf")
    called: bool = False
    """Whether the turn calls a tool."""
    awaits_call: bool = False
    """Whether what answers the person comes after that call, in a turn of its own."""
    expected: bool = False
    """Whether the server says that the turn needs no sound, as it works or wants to hear more."""
    ended: bool = False
    """Whether we took its last turn for over; should the server say so yet, that is known."""
    reason: str = ""
    """Why the turn is about to end, where the server says so."""

    @property
    def answers(self) -> bool:
        """Whether an answer is under way."""
        return self.in_turn or self.working

    def is_left_over(self, now: float) -> bool:
        """Whether what comes now is the rest of what was interrupted."""
        return self.interrupted and now - max(self.progress_at, self.interrupted_at) < LEFTOVERS_S

    def over(self, now: float) -> None:
        """The turn is over."""
        self.in_turn = self.generated = self.working = self.sounded = self.interrupted = self.expected = False
        self.called = self.awaits_call = False
        self.reason = ""
        self.last_turn = now
