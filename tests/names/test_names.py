"""Robots that know their gateway by its name: whatever happens to the name, a robot talks where it can and stops at once."""

import signal

import pytest

ENDS_WITHIN_S = 1.5
CONNECTS_WITHIN_S = 4.0
"""A look-up gives up after 2 s."""
TALKS_WITHIN_S = 10.0
"""Until a turn of 6 s was heard to its end."""


def test_a_name_server_is_silent_and_another_gateway_is_known_by_its_ip_address(world):
    world.name_server("127.0.0.9")
    world.gateway()
    robot = world.robot("box-1.lab:5555+5556,127.0.0.1:5555+5556")
    robot.until_connected(CONNECTS_WITHIN_S)
    robot.until_it_talks(TALKS_WITHIN_S)
    assert "no name server answers for box-1.lab: check the network, and /etc/resolv.conf" in robot.said
    assert robot.stop() < ENDS_WITHIN_S, "while the name is still being looked up"


def test_a_gateway_that_looks_googles_name_up_stops_at_once_too(world, tmp_path):
    world.name_server("127.0.0.9")
    gateway = world.gateway(
        program="gemini-gateway", GEMINI_API_KEY="no-key", GATEWAY_LEDGER=tmp_path / "l.sqlite", GATEWAY_DRAIN_S=0
    )
    robot = world.robot("127.0.0.1")
    robot.until_said("reconnecting: there is no connection to Gemini yet", 8)
    assert gateway.stop() < ENDS_WITHIN_S


def test_a_name_server_is_silent_and_no_other_gateway_is_known(world):
    world.name_server("127.0.0.9")
    robot = world.robot("box-1.lab")
    robot.until_said("no name server answers for box-1.lab:", 3)
    assert robot.stop() < ENDS_WITHIN_S


def test_a_name_server_is_silent_and_the_next_one_answers(world):
    """After the system's own 5 s, which is longer than a robot's round waits."""
    world.name_server("127.0.0.9")
    world.name_server("127.0.0.10", box__lab="127.0.0.1")
    world.gateway()
    robot = world.robot("box.lab")
    robot.until_connected(5 + CONNECTS_WITHIN_S)
    robot.until_it_talks(TALKS_WITHIN_S)


def test_what_was_found_before_serves_while_name_servers_are_silent(world):
    records = world.name_server("127.0.0.9", box__lab="127.0.0.1")
    gateway = world.gateway()
    robot = world.robot("box.lab")
    robot.until_it_talks(TALKS_WITHIN_S)
    records.unlink()
    gateway.process.send_signal(signal.SIGKILL)
    robot.until_said("nobody listens at 127.0.0.1:", 5)
    world.gateway()
    robot.until_connected(CONNECTS_WITHIN_S, times=2)
    robot.until_it_talks(TALKS_WITHIN_S)
    assert robot.stop() < ENDS_WITHIN_S


def test_a_robot_that_is_switched_on_while_name_servers_are_silent_finds_its_gateway_where_it_was_last(world):
    records = world.name_server("127.0.0.9", box__lab="127.0.0.1")
    world.gateway()
    robot = world.robot("box.lab")
    robot.until_it_talks(TALKS_WITHIN_S)
    robot.stop()
    assert world.gateways_file.read_text() == "127.0.0.1:5555+5556\n"
    records.unlink()
    robot = world.robot("box.lab")
    robot.until_connected(CONNECTS_WITHIN_S)
    robot.until_it_talks(TALKS_WITHIN_S)
    assert "no name server answers for box.lab:" in robot.said
    assert robot.stop() < ENDS_WITHIN_S


def test_a_gateway_that_comes_back_at_another_address_is_found(world):
    records = world.name_server("127.0.0.9", box__lab="127.0.0.2")
    first = world.gateway("127.0.0.2")
    robot = world.robot("box.lab")
    robot.until_it_talks(TALKS_WITHIN_S)
    first.process.send_signal(signal.SIGKILL)
    world.gateway("127.0.0.3")
    records.write_text("box.lab 127.0.0.3\n")
    robot.until_connected(CONNECTS_WITHIN_S, times=2)
    robot.until_it_talks(TALKS_WITHIN_S)
    assert "at box.lab:5555+5556 (127.0.0.3)" in robot.said


def test_every_address_of_a_name_is_tried(world):
    world.name_server("127.0.0.9", box__lab="127.0.0.2 127.0.0.3 127.0.0.4 fd00::7")
    gateway = world.gateway("127.0.0.3")
    robot = world.robot("box.lab")
    robot.until_it_talks(TALKS_WITHIN_S)
    gateway.process.send_signal(signal.SIGKILL)
    world.gateway("127.0.0.4")
    robot.until_connected(CONNECTS_WITHIN_S, times=2)


def test_a_name_that_has_only_an_ipv6_address(world):
    world.run("ip", "address", "add", "fd00::7/128", "dev", "lo")
    world.name_server("127.0.0.9", box__lab="fd00::7", four__lab="127.0.0.1")
    gateway = world.gateway("*")
    robot = world.robot("box.lab")
    robot.until_it_talks(TALKS_WITHIN_S)
    robot.stop()
    robot = world.robot("four.lab")
    robot.until_connected(CONNECTS_WITHIN_S)
    robot.stop()
    gateway.stop()


def test_an_address_that_means_something_on_one_interface_alone(world):
    world.interface("wlan0", "fe80::7/64")
    world.gateway("::")
    robot = world.robot("[fe80::7%wlan0]")
    robot.until_connected(CONNECTS_WITHIN_S)
    robot.stop()
    robot = world.robot("[fe80::7%wlan1]")
    robot.until_said("nobody listens at [fe80::7%wlan1]:", 5)
    robot.stop()


def test_a_dead_address_of_a_name_holds_nobody_up_for_long(world):
    """The first address, of IPv6, leads nowhere, as in many homes."""
    world.interface("wlan0", "fd00::1/64")
    world.name_server("127.0.0.9", box__lab="fd00::7 127.0.0.1")
    world.gateway("0.0.0.0")
    robot = world.robot("box.lab")
    robot.until_connected(CONNECTS_WITHIN_S)


def test_a_name_with_letters_beyond_ascii_and_one_with_an_underscore(world):
    world.name_server("127.0.0.9", **{"xn--bro-hoa__local": "127.0.0.1", "_gateway": "127.0.0.1"})
    world.gateway("0.0.0.0")
    for name in ("büro.local", "_gateway"):
        robot = world.robot(name)
        robot.until_connected(CONNECTS_WITHIN_S)
        robot.stop()


def test_a_machine_without_ipv6_listens_on_all_addresses_all_the_same(world):
    world.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    world.gateway("*")
    robot = world.robot("localhost")
    robot.until_connected(CONNECTS_WITHIN_S)


@pytest.mark.parametrize(
    "address", ["255.255.255.255", "224.0.0.1", "192.0.2.1", "[::]", "[ff02::1%lo]", "[fe80::1]", "[::ffff:127.0.0.1]"]
)
def test_an_address_at_which_no_gateway_can_be_is_told_in_words(world, address):
    robot = world.robot(address)
    robot.until_said("does its firewall let robots in, and is this its address?", 5)
    assert robot.stop() < ENDS_WITHIN_S


def test_a_machine_that_knows_no_name_server(world):
    robot = world.robot("box.lab")
    robot.until_said("no name server answers for box.lab:", 5)
    assert robot.stop() < ENDS_WITHIN_S


def test_a_name_that_nobody_knows(world):
    world.name_server("127.0.0.9", other__lab="127.0.0.1")
    robot = world.robot("box.lab")
    robot.until_said(
        "box.lab is not known here: check ROBOT_GATEWAY (for a page: CONSOLE_GATEWAY), and what getent ahosts box.lab says", 3
    )
    assert robot.stop() < ENDS_WITHIN_S
