from hypothesis import given
from hypothesis import strategies as st

from gemini_gateway.session.exchanges import CHARS, EXCHANGE_CHARS, PIECES_MAX, SETTLE_S, TURNS, UNANSWERED_S, Exchanges

LONG_AGO = float("-inf")


class Chat:
    """Exchanges, and the texts that they gave to keep."""

    def __init__(self) -> None:
        self.exchanges = Exchanges()
        self.now = 100.0
        self.spoke_at = LONG_AGO
        self.kept: list[tuple[str, str]] = []

    def speak(self) -> "Chat":
        """The person begins to speak."""
        self.now += 1.0
        self.spoke_at = self.now
        return self

    def said(self, who: str, text: str, after_s: float = 0.1) -> "Chat":
        self.now += after_s
        self._keep(self.exchanges.said(who, text, self.now, spoke_at=self.spoke_at))
        return self

    def answers(self) -> "Chat":
        self.now += 0.1
        self.exchanges.answers(self.now)
        return self

    def over(self) -> "Chat":
        self.now += 0.1
        self.exchanges.over(self.now)
        return self

    def wait(self, seconds: float) -> "Chat":
        self.now += seconds
        self._keep(self.exchanges.due(self.now))
        return self

    def end(self) -> list[tuple[str, str]]:
        self._keep(self.exchanges.settle())
        return self.kept

    def _keep(self, pieces) -> None:
        assert all(piece.at <= self.now for piece in pieces)
        self.kept += [(piece.who, piece.text) for piece in pieces]


IN_ORDER = [("person", "q1"), ("robot", "a1"), ("person", "q2"), ("robot", "a2")]


def test_questions_and_answers_are_kept_in_turn():
    chat = Chat().speak().said("person", "q1").answers().said("robot", "a1").over()
    chat.speak().said("person", "q2").answers().said("robot", "a2").over()
    assert chat.exchanges.seed() == tuple(IN_ORDER)
    assert chat.end() == IN_ORDER


def test_a_question_whose_words_come_behind_its_answers_goes_before_it():
    chat = Chat()
    for n in "12":
        chat.speak().answers().said("robot", f"a{n}").said("person", f"q{n}").over().wait(1.0)
    assert chat.exchanges.seed() == tuple(IN_ORDER)
    assert chat.end() == IN_ORDER


def test_so_does_one_whose_words_come_behind_its_turns_end():
    chat = Chat()
    for n in "12":
        chat.speak().answers().said("robot", f"a{n}").over().said("person", f"q{n}").wait(0.5)
    assert chat.end() == IN_ORDER


def test_the_rest_of_a_question_goes_before_its_answer_too():
    chat = Chat().speak().said("person", "q").answers().said("robot", "a").said("person", "1").said("robot", "1").over()
    assert chat.exchanges.seed() == (("person", "q1"), ("robot", "a1"))


def test_what_interrupts_an_answer_is_the_next_question():
    chat = Chat().speak().said("person", "q1").answers().said("robot", "a1")
    chat.speak().said("person", "q2").over().answers().said("robot", "a2").over()
    assert chat.end() == IN_ORDER


def test_a_question_that_the_gate_did_not_hear_is_the_next_all_the_same():
    chat = Chat()
    for n in "12":
        chat.said("person", f"q{n}").answers().said("robot", f"a{n}").over()
    assert chat.end() == IN_ORDER


def test_words_of_an_answer_that_come_behind_its_end_are_its_own():
    chat = Chat().speak().said("person", "q1").answers().over().said("robot", "a1").wait(SETTLE_S)
    assert chat.kept == IN_ORDER[:2]


def test_an_exchange_is_kept_once_no_more_of_it_can_come():
    chat = Chat().speak().said("person", "q1").answers().said("robot", "a1").over()
    assert chat.wait(SETTLE_S - 0.1).kept == []
    assert chat.wait(0.2).kept == IN_ORDER[:2]
    assert chat.wait(100).end() == IN_ORDER[:2]


def test_what_was_forgotten_is_told_to_nobody():
    chat = Chat().speak().said("person", "q1").answers().said("robot", "a1").over().wait(SETTLE_S).speak().said("person", "q2")
    chat.exchanges.forget()
    assert chat.exchanges.seed() == ()
    assert chat.end() == IN_ORDER[:2]


def test_one_who_talks_on_is_kept_in_parts():
    chat = Chat().speak()
    for _ in range(3 * PIECES_MAX):
        chat.said("person", "and ", 0.0)
    assert len(chat.kept) >= 2 * PIECES_MAX
    assert len(chat.end()) == 3 * PIECES_MAX


STEPS = st.lists(st.sampled_from(["speak", "person", "robot", "answers", "over", "wait"]), max_size=60)


@given(STEPS)
def test_no_piece_is_lost_or_kept_twice_and_a_speakers_words_stay_in_order(steps):
    chat, said = Chat(), {"person": [], "robot": []}
    for n, step in enumerate(steps):
        match step:
            case "person" | "robot":
                said[step].append(f"{n} ")
                chat.said(step, f"{n} ")
            case "wait":
                chat.wait(SETTLE_S)
            case _:
                getattr(chat, step)()
        seed = chat.exchanges.seed()
        assert len(seed) <= TURNS
        assert sum(len(text) for _, text in seed) <= CHARS
    chat.end()
    for who, pieces in said.items():
        assert [text for speaker, text in chat.kept if speaker == who] == pieces


def test_an_exchange_holds_no_more_than_its_bound():
    chat = Chat().speak().said("person", "q").answers()
    for _ in range(100):
        chat.said("robot", "x" * 1000)
    assert len(chat.kept) >= 100 - EXCHANGE_CHARS // 1000
    assert len(chat.end()) == 101, "and all of it is kept"


def test_a_question_that_nobody_answers_is_kept_after_a_while():
    chat = Chat().speak().said("person", "q")
    assert chat.wait(UNANSWERED_S - 1).kept == []
    assert chat.wait(1).kept == [("person", "q")]
