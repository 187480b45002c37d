from reachy_link.address import Address
from reachy_robot.decisions import Remember
from reachy_robot.memory import REMEMBER_S, Memory

A, B, C = (Address(f"10.0.0.{n}") for n in (1, 2, 3))


def test_where_the_robot_is_and_then_the_others_are_remembered_once():
    memory = Memory()
    assert memory.due(0.0) == []
    memory.welcomed(A, [B, C], given=True)
    assert memory.due(0.0) == [Remember((A, B, C))]
    memory.welcomed(A, [C, B], given=True)
    assert memory.due(1000.0) == [], "in another order it is no news"
    memory.welcomed(B, [A, C], given=True)
    assert memory.due(1000.0) == [Remember((B, A, C))]


def test_what_is_on_disk_already_is_not_written_again():
    memory = Memory([A, B])
    memory.welcomed(A, [B], given=False)
    assert memory.due(0.0) == []


def test_a_lone_gateway_is_remembered_if_its_address_had_to_be_looked_up():
    memory = Memory()
    memory.welcomed(A, [], given=True)
    assert memory.due(0.0) == []
    memory.welcomed(A, [], given=False)
    assert memory.due(0.0) == [Remember((A,))]
    memory.welcomed(B, [], given=False)
    assert memory.due(100.0) == [Remember((B,))], "the earlier gateway must be forgotten"


def test_a_gateway_that_names_no_others_takes_nothing_away():
    memory = Memory([A, B, C])
    memory.welcomed(B, [], given=False)
    assert memory.due(0.0) == [Remember((B, C))]


def test_a_gateway_that_names_others_each_time_does_not_wear_the_disk_out():
    memory, written = Memory(), []
    for second in range(600):
        memory.welcomed(A, [Address(f"10.1.{second // 250}.{second % 250}")], given=True)
        written += memory.due(second)
    assert len(written) == 600 / REMEMBER_S
    assert memory.due(600.0) == [Remember((A, Address("10.1.2.99")))], "the last change must not be lost"


def test_a_gateway_that_names_itself_is_there_once():
    memory = Memory()
    memory.welcomed(A, [B, A], given=True)
    assert memory.due(0.0) == [Remember((A, B))]
