"""The state of the server's turn on one connection. Pure."""

from dataclasses import dataclass

from reachy_gateway.talk.turns import LEFTOVERS_S


@dataclass(slots=True)
class ServerTurn:
    """The state of the server's turn. Each connection gets a new one."""

    progress_at: float
    """When the newest piece of an answer came, audible or not. At first: when the connection was opened."""
    sound_at: float
    """When the newest audible piece of an answer came, or the last turn ended. At first: when the connection was opened."""
    last_turn: float
    """When the last turn ended. At first: when the connection was opened."""
    in_turn: bool = False
    generated: bool = False
    """Whether all of the reply has come. The end of the turn may come much later."""
    sounds_until: float = float("-inf")
    """When a speaker that plays the reply at once would finish. The turn does not end earlier."""
    working: bool = False
    """Whether the server has announced another turn of the same answer."""
    last_word: bool = False
    """Whether the budget is spent and no turn is in progress, so that no other turn may begin."""
    sounded: bool = False
    """Whether the turn has had an audible sound."""
    interrupted: bool = False
    interrupted_at: float = float("-inf")
    called: bool = False
    """Whether the turn calls a tool."""
    awaits_call: bool = False
    """Whether the answer to the person comes after this call, in a turn of its own."""
    expected: bool = False
    """Whether the server says that the turn needs no sound, because the model works or wants to hear more."""
    ended: bool = False
    """Whether the session itself ended the last turn. A late ``turnComplete`` for this turn is then ignored."""
    reason: str = ""
    """Why the turn is about to end, if the server gives a reason."""

    @property
    def answers(self) -> bool:
        """Whether an answer is under way."""
        return self.in_turn or self.working

    def is_left_over(self, now: float) -> bool:
        """Whether audio that comes now is the rest of an interrupted answer."""
        return self.interrupted and now - max(self.progress_at, self.interrupted_at) < LEFTOVERS_S

    def over(self, now: float) -> None:
        """The turn is over."""
        self.in_turn = self.generated = self.working = self.sounded = self.interrupted = self.expected = False
        self.called = self.awaits_call = False
        self.reason = ""
        self.last_turn = now
