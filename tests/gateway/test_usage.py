from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reachy_gateway.provider.money import Money
from reachy_gateway.provider.usage import DAYS_KEPT, KINDS, PRICES, Account, Books, Price, Tokens, Verdict

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
PRICE = PRICES["gemini-3.8-live"]
COUNTS = st.dictionaries(st.sampled_from(["text", "audio", "image"]), st.integers(0, 10**9))
TOKENS = st.builds(Tokens, COUNTS, COUNTS)


def used(n: int) -> Tokens:
    return Tokens({"audio": n}, {})


# --- prices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        (Tokens({"audio": 1_000_000}, {}), "3.00"),
        (Tokens({"text": 1_000_000}, {}), "0.75"),
        (Tokens({"image": 1_000_000}, {}), "1.00"),
        (Tokens({}, {"audio": 1_000_000}), "12.00"),
        (Tokens({}, {"text": 1_000_000}), "4.50"),
        (Tokens({"audio": 25 * 60}, {}), "0.0045"),
        (Tokens({"audio": 312, "text": 40}, {"audio": 25, "text": 7}), "0.0012975"),
        (Tokens({}, {}), "0"),
    ],
)
def test_a_turn_costs_what_the_price_list_says(tokens, cost):
    assert PRICE.of(tokens) == Decimal(cost)


@given(TOKENS)
def test_costs_are_exact(tokens):
    cents = {"text": (75, 450), "audio": (300, 1200), "image": (100, 1200)}
    exact = sum(Fraction(n * cents[kind][0], 10**8) for kind, n in tokens.prompt.items())
    exact += sum(Fraction(n * cents[kind][1], 10**8) for kind, n in tokens.reply.items())
    assert Fraction(PRICE.of(tokens)) == exact


def test_prices_say_of_which_day_they_are():
    assert all(isinstance(price.as_of, date) for price in PRICES.values())
    with pytest.raises(ValidationError, match="as_of"):
        Price(in_text=1, in_audio=1, in_image=1, out_text=1, out_audio=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_price_may_be_nothing_but_not_less(kind):
    free = dict.fromkeys(KINDS, 0)
    assert Price(as_of=MONDAY, **free).of(Tokens({"audio": 9}, {"text": 9})) == 0
    with pytest.raises(ValidationError, match=kind):
        Price(as_of=MONDAY, **{**free, kind: Money("-0.01")})


def test_a_price_of_something_else_is_named():
    with pytest.raises(ValidationError, match="in_video"):
        Price(as_of=MONDAY, **dict.fromkeys(KINDS, 0), in_video=1)


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_an_account_sums_turns_tokens_and_money():
    account = Account()
    account.add(Tokens({"audio": 100, "text": 20, "image": 5}, {"audio": 50, "text": 7}), Money("0.01"))
    account.add(Tokens({"audio": 1}, {"audio": 2}), Money("0.02"))
    assert account.turns == 2
    assert account.cost == Money("0.03")
    assert account.tokens == {"in_text": 20, "in_audio": 101, "in_image": 5, "out_text": 7, "out_audio": 52}
    assert tuple(account.tokens) == KINDS


@given(st.lists(TOKENS, max_size=50))
def test_the_sum_of_many_turns_is_exact(turns):
    books = Books()
    for tokens in turns:
        books.add(MONDAY, "a", "s1", tokens, PRICE.of(tokens))
    whole = Account()
    for tokens in turns:
        whole.add(tokens, Money(0))
    sums = whole.tokens
    prompt = {"text": sums["in_text"], "audio": sums["in_audio"], "image": sums["in_image"]}
    assert books.account(MONDAY, "a").tokens == sums
    assert books.account(MONDAY, "a").cost == PRICE.of(Tokens(prompt, {"text": sums["out_text"], "audio": sums["out_audio"]}))


def test_robots_have_accounts_of_their_own_and_the_gateway_has_their_sum():
    books = Books()
    books.add(MONDAY, "a", "s1", used(1), Money("0.10"))
    books.add(MONDAY, "b", "s1", used(2), Money("0.20"))
    books.add(MONDAY, "a", "s1", used(3), Money("0.30"))
    assert (books.account(MONDAY, "a").cost, books.account(MONDAY, "b").cost) == (Money("0.40"), Money("0.20"))
    assert books.account(MONDAY, "a").turns == 2
    assert books.total(MONDAY) == Money("0.60")
    assert books.account(MONDAY, "c") == Account()


def test_a_new_day_begins_at_nothing():
    books = Books()
    books.add(MONDAY, "a", "s1", used(1), Money(5))
    assert books.account(TUESDAY, "a") == Account()
    assert books.total(TUESDAY) == 0
    assert books.verdict(TUESDAY, "a", Money(1), Money(1)).allowed
    books.add(TUESDAY, "a", "s1", used(1), Money(1))
    assert books.account(TUESDAY, "a").cost == books.total(TUESDAY) == Money(1)


class Store:
    """Keeps the booked turns, and counts how often each day was read."""

    def __init__(self) -> None:
        self.days: dict[date, dict[str, Account]] = {}
        self.reads: list[date] = []

    def load(self, day: date) -> dict[str, Account]:
        self.reads.append(day)
        return self.days.get(day, {})


@pytest.mark.parametrize("off_by_days", [-400, -1, 1, 30])
def test_a_clock_that_is_set_right_finds_what_was_spent_today(off_by_days):
    """A gateway that starts with a wrong date and books a turn on it must not grant the budget twice."""
    store = Store()
    store.days[MONDAY] = {"a": Account(turns=3, cost=Money(5))}
    books = Books(store.load)
    wrong = MONDAY + timedelta(days=off_by_days)
    assert books.verdict(wrong, "a", Money(5), None).allowed
    books.add(wrong, "a", "s1", used(1), Money(1))
    assert not books.verdict(MONDAY, "a", Money(5), None).allowed
    assert not books.verdict(MONDAY, "b", None, Money(5)).allowed, "nor has the gateway's been forgotten"
    assert books.verdict(wrong, "a", Money(5), None).allowed
    assert store.reads == [wrong, MONDAY], "each once"


def test_a_date_that_steps_to_and_fro_forgets_nothing_that_was_booked():
    store = Store()
    books = Books(store.load)
    for n in range(6):
        day = MONDAY + timedelta(days=n % 2)
        books.add(day, "a", "s1", used(1), Money(1))
    assert books.account(MONDAY, "a").cost == books.account(TUESDAY, "a").cost == Money(3)


def test_only_a_few_days_are_kept_and_the_store_has_the_others():
    store = Store()
    books = Books(store.load)
    days = [MONDAY + timedelta(days=n) for n in range(20)]
    for day in days:
        books.add(day, "a", "s1", used(1), Money(1))
    assert len(books._days) == DAYS_KEPT
    books.account(MONDAY, "a")
    assert store.reads == [*days, MONDAY]


def test_a_session_has_an_account_of_its_own_over_midnight_and_until_the_next_begins():
    books = Books()
    assert books.session("a") == Account()
    books.add(MONDAY, "a", "s1", used(1), Money("0.10"))
    books.add(MONDAY, "b", "s2", used(2), Money("0.20"))
    books.add(TUESDAY, "a", "s1", used(3), Money("0.30"))
    assert (books.session("a").turns, books.session("a").cost) == (2, Money("0.40"))
    assert books.session("b").cost == Money("0.20")
    assert books.account(TUESDAY, "a").cost == Money("0.30")
    books.add(TUESDAY, "a", "s3", used(4), Money("0.40"))
    assert (books.session("a").turns, books.session("a").cost) == (1, Money("0.40"))


def test_books_go_on_from_what_a_store_had():
    books = Books(lambda _: {"a": Account(turns=3, cost=Money("0.75"))})
    books.add(MONDAY, "a", "s1", used(1), Money("0.25"))
    assert books.account(MONDAY, "a").turns == 4
    assert not books.verdict(MONDAY, "a", Money(1), None).allowed


# --- budgets ----------------------------------------------------------------------------------------------------------


def spent(cost: str, robot: str = "a") -> Books:
    books = Books()
    books.add(MONDAY, robot, "s1", used(1), Money(cost))
    return books


@pytest.mark.parametrize(
    ("cost", "allowed", "warned"),
    [
        ("0", True, False),
        ("0.7999", True, False),
        ("0.80", True, True),
        ("0.9999", True, True),
        ("1", False, True),
        ("9", False, True),
    ],
)
@pytest.mark.parametrize("whose", ["robot", "gateway"])
def test_a_budget_warns_at_80_percent_and_stops_at_100(cost, allowed, warned, whose):
    budgets = (Money(1), None) if whose == "robot" else (None, Money(1))
    verdict = spent(cost).verdict(MONDAY, "a", *budgets)
    assert verdict.allowed is allowed
    assert bool(verdict.words) is warned


def test_without_a_budget_everything_goes():
    assert spent("1000").verdict(MONDAY, "a", None, None) == Verdict(allowed=True)


def test_the_words_say_whose_budget_how_much_and_what_to_do():
    stopped = spent("1.25").verdict(MONDAY, "a", Money(1), None)
    assert stopped.words == "a's budget for today: $1.25 of $1.00 spent; it goes on tomorrow, or when the budget is raised"
    warned = spent("4").verdict(MONDAY, "a", Money(100), Money(5))
    assert warned == Verdict(allowed=True, words="the gateway's budget for today: $4.00 of $5.00 spent")


def test_a_robots_budget_stops_that_robot_alone_and_the_gateways_stops_all():
    books = spent("1", "a")
    assert not books.verdict(MONDAY, "a", Money(1), Money(10)).allowed
    assert books.verdict(MONDAY, "b", Money(1), Money(10)) == Verdict(allowed=True)
    assert not books.verdict(MONDAY, "b", Money(1), Money(1)).allowed
    assert not books.verdict(MONDAY, "b", None, Money(1)).allowed


def test_a_budget_that_is_raised_lets_it_go_on():
    books = spent("1")
    assert not books.verdict(MONDAY, "a", Money(1), None).allowed
    assert books.verdict(MONDAY, "a", Money(2), None) == Verdict(allowed=True)


def test_a_day_that_could_not_be_read_is_read_with_the_next_turn():
    reads = [None, {"reachy-1": Account(turns=1, cost=Money(5))}]
    books = Books(lambda _: reads.pop(0))
    assert books.total(MONDAY) == 0
    books.add(MONDAY, "reachy-1", "s", Tokens({"audio": 1}, {}), Money(1))
    assert books.total(MONDAY) == 6
    assert reads == []
