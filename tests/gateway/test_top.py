import pytest

from reachy_gateway.top import Told, TopError, _span, table

INFO = 'reachylink_gateway_info{software="gemini-gateway 0.1.0"} 1\n'


def histogram(**counts: float) -> str:
    return "".join(f'h_bucket{{le="{le[1:].replace("_", ".")}"}} {count}\n' for le, count in counts.items())


@pytest.mark.parametrize(
    ("buckets", "median"),
    [
        ({"x0_5": 0, "x1_0": 10, "xInf": 10}, 0.75),
        ({"x0_5": 4, "x1_0": 8, "xInf": 8}, 0.5),
        ({"x0_5": 8, "x1_0": 8, "xInf": 8}, 0.25),
        ({"x0_5": 0, "x1_0": 0, "xInf": 3}, 1.0),
        ({"x0_5": 0, "x1_0": 0, "xInf": 0}, None),
    ],
)
def test_the_median_is_reckoned_as_prometheus_does(buckets, median):
    assert Told(INFO + histogram(**buckets)).median("h") == median


def test_of_what_is_not_told_there_is_a_dash():
    state = (
        'reachylink_robot_state{robot="reachy-1",state="away"} 1\nreachylink_robot_state{robot="reachy-2",state="absent"} 1\n'
    )
    told = Told(INFO + state + 'reachylink_robot_connected_seconds{robot="reachy-1"} 75\n')
    first, _, heads, line = table(told).splitlines()
    assert first.startswith("gemini-gateway 0.1.0; 0 robots connected")
    assert heads.split()[:3] == ["robot", "state", "since"]
    assert line.split() == ["reachy-1", "away", "1m", "-", "-", "-", "-", "-", "0", "0", "-", "-", "-"]


@pytest.mark.parametrize("text", ["", "<html></html>", "node_cpu_seconds_total 1\n"])
def test_what_is_no_gateway_is_said_to_be_none(text):
    with pytest.raises(TopError, match="no gateway"):
        Told(text)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (59.4, "59s"), (60, "1m"), (3599, "59m"), (3660, "1h01m"), (90000, "25h00m")]
)
def test_spans_are_short(seconds, words):
    assert _span(seconds) == words
