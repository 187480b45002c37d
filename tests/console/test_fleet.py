"""A gateway's reports on its robots, and the console's view of them: after any loss both agree in the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reachy_console.fleet import GONE_S, STALE_S, Gateway
from reachy_gateway.admin.watcher import Picture, Watcher
from reachy_link import admin

BOOT = "0" * 16
ROBOTS = tuple(f"lab-{n}" for n in range(100))


def whole(now: float = 0.0) -> dict[str, object]:
    return {
        "software": "test",
        "now": now,
        "started": 0.0,
        "here": 1,
        "admitted": 1,
        "max_robots": 9,
        "faults": 0,
        "dollars": 0.5,
    }


def row(robot: str, turns: int = 0) -> admin.Row:
    return admin.Row(robot=robot, state="listening", turns=turns)


def stranger(n: int) -> admin.Stranger:
    return admin.Stranger(key="k" * 40, address="10.0.0.9", at=0.0, times=n)


def detail(*turns: int, may_show: bool = True) -> dict[str, object]:
    said = tuple(admin.Said(at=0.0, who="person", text=str(n)) for n in turns)
    played = tuple(admin.Turn(turn=n, at=0.0, complete=True, played_ms=9) for n in turns)
    return {"body": None, "may_show": may_show, "may_record": False, "turns": played, "said": said, "notes": ()}


class Both:
    """A watcher, a gateway as the console sees it, and the line between them."""

    def __init__(self) -> None:
        self.watcher = Watcher(BOOT, "key", "operator", 0.0)
        self.view = Gateway("test")
        self.kept: dict[str, list[int]] = {}
        self.watcher.asked(admin.Watch(robots=("lab-0", "lab-1")), 0.0)

    def detail(self, robot: str) -> dict[str, object]:
        return detail(*self.kept.get(robot, []))

    def send(self, message, *, arrives: bool) -> None:
        """Send a message. If it is lost, either the watcher is told, as by a full queue, or the console notices."""
        if not arrives:
            self.watcher.lost()
        elif not self.view.take(message, 1.0):
            self.watcher.asked(admin.Watch(robots=self.watcher.robots, afresh=True), 1.0)

    def tell(self, picture: Picture, lost: set[int]) -> None:
        for number, message in enumerate(self.watcher.news(picture, self.detail)):
            self.send(message, arrives=number not in lost)


STEPS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(ROBOTS), st.integers(0, 5), max_size=95),
        st.integers(0, 3),
        st.sets(st.integers(0, 4)),
        st.lists(st.tuples(st.sampled_from(("lab-0", "lab-1", "lab-2")), st.booleans()), max_size=4),
    ),
    max_size=8,
)


@given(STEPS)
def test_whatever_is_lost_on_the_way_both_know_the_same_in_the_end(steps):
    both, n = Both(), 0
    picture = Picture(whole(), {}, (), ())
    for rows, strangers, lost, events in steps:
        picture = Picture(whole(), {name: row(name, turns) for name, turns in rows.items()}, (stranger(strangers),), ())
        both.tell(picture, lost)
        for robot, arrives in events:
            n += 1
            both.kept.setdefault(robot, []).append(n)
            event = both.watcher.event(robot, admin.Turn(turn=n, at=0.0, complete=True, played_ms=9))
            said = both.watcher.event(robot, admin.Said(at=0.0, who="person", text=str(n)))
            for message in (event, said):
                if message:
                    both.send(message, arrives=arrives)
    both.tell(picture, set())
    both.tell(picture, set())  # the first one may only have revealed a loss
    assert both.view.rows == picture.rows
    assert both.view._strangers == picture.strangers
    for robot in ("lab-0", "lab-1"):
        known = both.view.detail(robot)
        if robot not in picture.rows:
            assert known is None
            continue
        assert known
        assert [turn.turn for turn in known.turns] == both.kept.get(robot, [])
        assert [int(said.text) for said in known.said] == both.kept.get(robot, [])
    assert both.view.detail("lab-2") is None


@given(st.dictionaries(st.sampled_from(ROBOTS), st.integers(0, 5)))
def test_a_page_that_comes_later_is_told_everything(rows):
    both = Both()
    both.tell(Picture(whole(), {name: row(name, turns) for name, turns in rows.items()}, (stranger(1),), ()), set())
    late = Gateway("late")
    for number, news in enumerate(both.view.all_rows()):
        assert late.take(news.model_copy(update={"seq": number}), 0.0)
    assert late.rows == both.view.rows
    assert late._strangers == both.view._strangers
    assert late.whole == both.view.whole


def test_what_changed_alone_is_told_and_a_sign_of_life_where_nothing_did():
    watcher = Watcher(BOOT, "key", "viewer", 0.0)
    rows = {name: row(name) for name in ROBOTS[:50]}
    first = watcher.news(Picture(whole(), rows, (), ()), lambda _: detail())
    assert [(it.afresh, len(it.rows)) for it in first] == [(True, 40), (False, 10)]
    assert first[0].whole.role == "viewer"
    [quiet] = watcher.news(Picture(whole(1.0), rows, (), ()), lambda _: detail())
    assert (quiet.afresh, quiet.rows, quiet.strangers, quiet.whole.now) == (False, (), None, 1.0)
    [news] = watcher.news(Picture(whole(), {**rows, "lab-3": row("lab-3", 1)}, (stranger(1),), ()), lambda _: detail())
    assert (news.rows, len(news.strangers)) == ((row("lab-3", 1),), 1)
    assert [it.seq for it in (*first, quiet, news)] == [0, 1, 2, 3]
    del rows["lab-7"]
    assert watcher.news(Picture(whole(), rows, (), ()), lambda _: detail())[0].gone == ("lab-7",)


def test_words_that_may_not_be_shown_any_more_are_forgotten():
    both = Both()
    both.kept["lab-0"] = [1, 2]
    picture = Picture(whole(), {"lab-0": row("lab-0")}, (), ())
    both.tell(picture, set())
    assert len(both.view.detail("lab-0").said) == 2
    for message in both.watcher.news(picture, lambda _: detail(1, 2, may_show=False)):
        both.send(message, arrives=True)
    assert both.view.detail("lab-0").said == ()
    assert len(both.view.detail("lab-0").turns) == 2


def test_a_gateway_that_started_anew_is_asked_for_all_of_it():
    both = Both()
    both.tell(Picture(whole(), {"lab-0": row("lab-0")}, (), ()), set())
    other = admin.Fleet(boot="1" * 16, seq=1, rows=(row("lab-1"),))
    assert not both.view.take(other, 2.0)
    assert both.view.is_to_tell_anew(2.0)
    assert not both.view.is_to_tell_anew(2.5)
    assert both.view.take(other.model_copy(update={"seq": 0, "afresh": True}), 2.6)
    assert both.view.rows.keys() == {"lab-1"}


@pytest.mark.parametrize(("age_s", "standing"), [(0.0, "here"), (STALE_S, "stale"), (GONE_S, "gone"), (1e9, "gone")])
def test_what_is_old_is_called_so(age_s, standing):
    view = Gateway("test")
    assert view.standing(0.0) == "gone"
    assert view.take(admin.Fleet(boot=BOOT, seq=0, afresh=True), 10.0)
    assert view.standing(10.0 + age_s) == standing
