"""The spending of a fleet's gateways, exact to the nano-dollar, whichever gateway is killed or store is emptied."""

import shutil
import sqlite3
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reachy_gateway.fleet.port import Booking
from reachy_gateway.provider.elsewhere import Elsewhere
from reachy_gateway.provider.ledger import Ledger
from reachy_gateway.provider.money import Money
from reachy_gateway.provider.shared_books import ROWS_MAX, SharedBooks
from reachy_gateway.provider.usage import Account, Books, Tokens

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
TURN = Tokens({"audio": 100}, {})


class Store:
    """Acts like ``book.lua``."""

    def __init__(self) -> None:
        self.days: dict[str, dict[str, int]] = {}

    def book(self, it: Booking) -> int:
        day = self.days.get(it.day, {})
        if day.get(f"upto:{it.ledger}", 0) != it.after:
            return day.get(f"upto:{it.ledger}", 0)
        self.days[it.day] = day
        for robot, nano_usd in it.nano_usd.items():
            day[f"robot:{robot}"] = day.get(f"robot:{robot}", 0) + nano_usd
        day[f"upto:{it.ledger}"] = it.upto
        return it.upto

    def spent(self, day: str) -> dict[str, int]:
        return {name[6:]: n for name, n in self.days.get(day, {}).items() if name.startswith("robot:")}

    def copy(self) -> dict[str, dict[str, int]]:
        return {day: dict(sums) for day, sums in self.days.items()}


class Gateway:
    def __init__(self, path, store: Store, today: date = MONDAY) -> None:
        self.path, self.store, self.today = path, store, today
        self.start()

    def start(self) -> None:
        self.ledger = Ledger(self.path)
        self.elsewhere = Elsewhere()
        self.books = Books(self.ledger.accounts, self.elsewhere)
        self.shared = SharedBooks(self.ledger, self.elsewhere, lambda: self.today)

    def kill(self) -> None:
        self.ledger.close()
        self.start()

    def spend(self, robot: str, cost: str) -> None:
        self.books.add(self.today, robot, "s", TURN, Money(cost))
        self.ledger.add(self.today, robot, "s", "m", TURN, Money(cost))

    def beat(self, lost: str = "") -> bool:
        """A member's beat. ``lost`` loses the request or the answer. Returns whether there was anything to report."""
        book, day = self.shared.to_tell(), self.shared.day()
        if lost == "question":
            return True
        upto = self.store.book(book) if book else None
        spent = self.store.spent(day)
        if lost == "answer":
            return True
        if book and upto is not None:
            self.shared.told(book, upto)
        self.shared.spent(day, spent)
        return book is not None and (book.upto > book.after or upto != book.upto)

    def tell_all(self) -> None:
        for _ in range(50):
            if not self.beat() and not self.beat():
                return
        raise AssertionError("it never ends")

    def sums(self, day: date) -> dict[str, int]:
        return self.ledger.upto(day, 10**9)


@pytest.fixture
def make(tmp_path):
    made: list[Gateway] = []

    def one(store: Store, today: date = MONDAY) -> Gateway:
        made.append(Gateway(tmp_path / f"{len(made)}.sqlite", store, today))
        return made[-1]

    yield one
    for gateway in made:
        gateway.ledger.close()


# --- by example -------------------------------------------------------------------------------------------------------


def test_two_gateways_know_what_both_spend(make):
    store = Store()
    one, two = make(store), make(store)
    one.spend("a", "0.25")
    two.spend("a", "0.50")
    two.spend("b", "1")
    for _ in range(2):
        one.tell_all()
        two.tell_all()
    assert [it.books.spent(MONDAY, "a") for it in (one, two)] == [Money("0.75")] * 2
    assert [it.books.total(MONDAY) for it in (one, two)] == [Money("1.75")] * 2
    assert one.elsewhere.of(MONDAY, "a") == Money("0.50")
    assert not one.books.verdict(MONDAY, "a", Money("0.75"), None).allowed
    assert one.books.verdict(MONDAY, "a", None, Money("1.75")).words.startswith("the fleet's budget")


def test_of_nothing_nothing_is_told(make):
    one = make(Store())
    assert one.shared.to_tell() is None
    one.beat()
    assert one.store.days == {}
    assert one.elsewhere.heard


def test_with_nothing_new_it_is_asked_whether_the_store_still_knows(make):
    one = make(Store())
    one.spend("a", "0.25")
    one.tell_all()
    book = one.shared.to_tell()
    assert (book.after, book.upto, book.nano_usd) == (1, 1, {})
    one.store.days.clear()
    one.tell_all()
    assert one.store.spent("2026-11-23") == {"a": 250_000_000}


def test_a_gateway_that_starts_again_takes_what_it_spent_itself_for_nobody_elses(make):
    """Whichever it asks for first: yesterday's rows are read before today's."""
    one = make(Store())
    one.spend("a", "0.50")
    one.tell_all()
    one.today = TUESDAY
    one.spend("a", "0.25")
    one.tell_all()
    one.kill()
    for _ in range(4):
        one.beat()
        assert one.books.spent(TUESDAY, "a") == Money("0.25")
        assert one.elsewhere.of(TUESDAY, "a") == 0


def test_while_the_ledger_cannot_be_read_nothing_is_told_nor_taken(make):
    one = make(Store())
    one.spend("a", "0.25")
    one.tell_all()
    one.kill()
    with sqlite3.connect(one.path) as other:
        other.execute("ALTER TABLE turns RENAME TO gone")
        other.commit()
        assert one.shared.to_tell() is None
        one.beat()
        other.execute("ALTER TABLE gone RENAME TO turns")
    other.close()
    one.tell_all()
    assert one.elsewhere.of(MONDAY, "a") == 0


def test_more_rows_than_fit_follow_one_another(make):
    one = make(Store())
    for _ in range(ROWS_MAX + 2):
        one.spend("a", "0.000000001")
    one.beat()
    assert one.shared.to_tell().upto == ROWS_MAX
    one.tell_all()
    assert one.store.spent("2026-11-23") == {"a": ROWS_MAX + 2}


@pytest.mark.parametrize("cost", ["NaN", "sNaN", "Infinity", "words", "", b"\xff"])
def test_a_row_that_cannot_be_read_costs_nothing_and_keeps_no_other_back(make, cost):
    one = make(Store())
    for _ in range(3):
        one.spend("a", "0.25")
    one.ledger._db.execute("UPDATE turns SET cost = ? WHERE rowid = 2", (cost,))
    one.tell_all()
    assert one.store.spent("2026-11-23") == {"a": 500_000_000}
    one.store.days.clear()
    one.tell_all()
    assert one.store.spent("2026-11-23") == {"a": 500_000_000}


def test_what_was_spent_before_midnight_is_told_after_it(make):
    one = make(Store())
    one.spend("a", "1")
    one.today = TUESDAY
    one.spend("a", "2")
    one.tell_all()
    assert (one.store.spent("2026-11-23"), one.store.spent("2026-11-24")) == ({"a": 10**9}, {"a": 2 * 10**9})


# --- a restored ledger ------------------------------------------------------------------------------------------------


def restored(one: Gateway, tmp_path, *, monday: int = 3, lost: int = 2) -> None:
    """So many turns were billed on Monday and two on Tuesday. The ledger then lost the last ones."""
    for _ in range(monday):
        one.spend("a", "1")
    one.tell_all()
    one.today = TUESDAY
    one.spend("a", "1")
    one.tell_all()
    one.ledger.close()
    shutil.copy(one.path, tmp_path / "backup")
    one.start()
    for _ in range(lost):
        one.spend("a", "1")
    one.tell_all()
    one.ledger.close()
    for file in tmp_path.glob(f"{one.path.name}*"):
        file.unlink()
    shutil.copy(tmp_path / "backup", one.path)
    one.start()


@pytest.mark.parametrize("killed_after", [None, 0, 1, 2, 3, 4])
@pytest.mark.parametrize("lost", ["", "answer"])
def test_a_ledger_that_was_restored_goes_on_under_another_name_and_nothing_counts_twice(make, tmp_path, killed_after, lost):
    one = make(Store())
    restored(one, tmp_path)
    name = one.ledger.name
    for n in range(5):
        if n == killed_after:
            one.beat(lost)
            one.kill()
        one.beat()
        assert one.books.spent(TUESDAY, "a") <= 3
    one.spend("a", "1")
    one.tell_all()
    assert one.ledger.name != name
    assert one.store.spent("2026-11-23") == {"a": 3 * 10**9}
    assert one.store.spent("2026-11-24") == {"a": 4 * 10**9}, "turns that the ledger lost were spent, too"
    assert one.books.spent(TUESDAY, "a") == 4


def test_a_restored_ledger_of_which_the_store_forgot_all_tells_it_again(make, tmp_path):
    one = make(Store())
    restored(one, tmp_path)
    one.tell_all()
    one.store.days.clear()
    one.tell_all()
    assert one.store.spent("2026-11-24") == {"a": 10**9}


# --- histories --------------------------------------------------------------------------------------------------------

DO = st.tuples(
    st.sampled_from(["spend", "spend", "spend", "beat", "beat", "kill", "question", "answer", "forget", "back", "midnight"]),
    st.integers(0, 1),
    st.sampled_from(["a", "b"]),
    st.integers(0, 10**10),
)


@settings(max_examples=60)
@given(st.lists(DO, max_size=40))
def test_after_all_is_told_the_stores_sums_are_the_ledgers(tmp_path_factory, history):  # noqa: C901, PLR0912 - a kind of step each
    folder, store = tmp_path_factory.mktemp("books"), Store()
    fleet = [Gateway(folder / f"{n}.sqlite", store) for n in range(2)]
    memories = [store.copy()]
    for what, who, robot, nano_usd in history:
        one = fleet[who]
        match what:
            case "spend":
                one.spend(robot, str(Money(nano_usd) / 10**9))
            case "beat":
                one.beat()
                memories.append(store.copy())
            case "question" | "answer":
                one.beat(what)
            case "kill":
                one.kill()
            case "forget":
                store.days = {}
            case "back":
                store.days = {day: dict(sums) for day, sums in memories[nano_usd % len(memories)].items()}
            case "midnight":
                for each in fleet:
                    each.tell_all()
                    each.today = min(each.today + timedelta(days=1), MONDAY + timedelta(days=3))
                memories = [store.copy()]
        for each in fleet:
            own = each.books.account(each.today, robot).cost
            truth = sum((it.books.account(each.today, robot).cost for it in fleet), Money(0))
            assert own <= each.books.spent(each.today, robot) <= truth, "no less than its own, and no more than all"
    for _ in range(2):
        for each in fleet:
            each.tell_all()
    today = fleet[0].today
    sums: dict[str, int] = {}
    for each in fleet:
        for robot, nano_usd in each.sums(today).items():
            sums[robot] = sums.get(robot, 0) + nano_usd
    assert store.spent(today.isoformat()) == sums
    for each in fleet:
        assert {robot: each.books.spent(today, robot) * 10**9 for robot in sums} == sums
        each.ledger.close()


def test_an_account_of_a_day_is_what_its_rows_cost(make):
    one = make(Store())
    one.spend("a", "0.1")
    one.spend("a", "0.2")
    assert one.ledger.accounts(MONDAY)["a"] == Account(2, one.books.account(MONDAY, "a").tokens, Money("0.3"))
    assert one.sums(MONDAY) == {"a": 300_000_000}
