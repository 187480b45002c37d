"""Links that sign a person in once, and guests."""

from itertools import count

import pytest

from reachy_console.login import ATTEMPTS, GUESTS_MAX, IDLE_S, LINK_S, LINKS_MAX, Logins


@pytest.fixture
def logins() -> Logins:
    numbers = count()
    return Logins(lambda: f"word-{next(numbers)}")


def later(n: int) -> float:
    """A time at which so many attempts, one after the other, are permitted."""
    return n / ATTEMPTS.per_s


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_a_link_signs_in_one_person_once(logins, role):
    code = logins.make_link(role, 0.0)
    token = logins.redeem(code, 1.0)
    assert logins.role(token, 2.0) == role
    assert logins.redeem(code, 3.0) is None
    assert logins.guests == 1


def test_a_link_is_void_after_ten_minutes(logins):
    early, late = (logins.make_link("viewer", 0.0) for _ in range(2))
    assert logins.redeem(early, LINK_S) is not None
    assert logins.redeem(late, LINK_S + 0.1) is None


def test_a_word_that_nobody_was_given_signs_nobody_in(logins):
    logins.make_link("operator", 0.0)
    assert logins.redeem("guess", 0.0) is None
    assert logins.role("guess", 0.0) is None
    assert logins.redeem("\udc80", 0.0) is None


def test_guesses_are_few(logins):
    code = logins.make_link("operator", 0.0)
    for _ in range(ATTEMPTS.burst):
        assert logins.redeem("guess", 0.0) is None
    assert logins.redeem(code, 0.0) is None, "too many attempts"
    assert logins.redeem(code, later(1)) is not None, "the link is not used up by that"


def test_the_oldest_of_too_many_links_is_void(logins):
    codes = [logins.make_link("viewer", 0.0) for _ in range(LINKS_MAX + 1)]
    assert logins.redeem(codes[0], 0.0) is None
    assert logins.redeem(codes[1], 0.0) is not None


def test_a_guest_who_is_idle_is_forgotten_and_one_who_is_not_is_kept(logins):
    idle, busy = (logins.redeem(logins.make_link("viewer", 0.0), 0.0) for _ in range(2))
    assert logins.role(busy, IDLE_S / 2) == "viewer"
    assert logins.role(idle, IDLE_S + 1) is None
    assert logins.role(busy, IDLE_S + 1) == "viewer"


def test_the_guest_who_was_quiet_longest_makes_room(logins):
    tokens = [logins.redeem(logins.make_link("viewer", later(n)), later(n)) for n in range(GUESTS_MAX)]
    assert logins.role(tokens[0], later(GUESTS_MAX)) == "viewer"
    newest = logins.redeem(logins.make_link("viewer", later(GUESTS_MAX)), later(GUESTS_MAX))
    assert logins.guests == GUESTS_MAX
    assert [logins.role(token, later(GUESTS_MAX)) for token in (tokens[0], tokens[1], newest)] == ["viewer", None, "viewer"]


def test_a_guest_who_leaves_is_signed_out(logins):
    token = logins.redeem(logins.make_link("operator", 0.0), 0.0)
    logins.leave(token)
    logins.leave(token)
    assert logins.role(token, 0.0) is None
