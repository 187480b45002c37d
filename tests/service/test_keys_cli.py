from pathlib import Path

import pytest
import zmq

from reachy_link.keys import Keyring, load_pair, load_robot
from reachy_service.health import HealthServer
from reachy_service.keys_cli import main

HYPHENATED = ["-a" + "0" * 38, "-h" + "0" * 38, "--" + "0" * 38, "-0" + "0" * 38]
"""One public key in 85 begins with a hyphen."""


def new_public() -> str:
    while (public := zmq.curve_keypair()[0].decode()).startswith("-"):
        pass
    return public


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs the command on a gateway's directory. Returns its exit status, its output and its error output."""
    monkeypatch.delenv("REACHY_HEALTH_PORT", raising=False)

    def run(*arguments: str, directory: Path = tmp_path / "gateway") -> tuple[int, str, str]:
        status = main(["--dir", str(directory), *arguments])
        return status, *capsys.readouterr()

    return run


def test_from_nothing_to_an_admitted_robot_by_what_the_command_prints(run, tmp_path):
    robot = tmp_path / "robot"
    status, told, _ = run("gateway")
    assert status == 0
    gateway_public = told.splitlines()[-1].removeprefix("reachy-keys trust ").strip("'")
    status, told, _ = run("robot", "reachy-1", directory=robot)
    assert status == 0
    [line] = [line for line in told.splitlines() if line.startswith("reachy-keys admit ")]
    assert f"docker compose run --rm keys {line.removeprefix('reachy-keys ')}" in told.splitlines()
    _, words = line.split(" ", 1)
    assert run("trust", gateway_public, directory=robot)[0] == 0
    name, robot_id, quoted = words.split(" ")
    assert run(name, robot_id, quoted.strip("'")) == (0, "admitted reachy-1; takes effect at once\n", "")

    identity = load_robot(robot)
    assert identity.robot == "reachy-1"
    assert identity.gateway_public == load_pair(tmp_path / "gateway", "").public
    assert Keyring(tmp_path / "gateway").robot_of(identity.keys.public.decode()) == "reachy-1"


def test_the_public_key_is_shown_again_with_what_to_do_with_it(run, tmp_path):
    for command, directory in ((["gateway"], tmp_path / "gateway"), (["robot", "reachy-1"], tmp_path / "robot")):
        made = run(*command, directory=directory)[1]
        assert run("show", directory=directory)[1].splitlines() == made.splitlines()[1:]
    status, told, complaint = run("show", directory=tmp_path / "elsewhere")
    assert (status, told) == (1, "")
    assert "gateway, or robot ID" in complaint


@pytest.mark.parametrize("command", [("admit", "reachy-1", new_public()), ("revoke", "reachy-1")])
def test_robots_are_not_admitted_or_revoked_at_a_robot(run, tmp_path, command):
    run("robot", "reachy-1", directory=tmp_path / "robot")
    status, told, complaint = run(*command, directory=tmp_path / "robot")
    assert (status, told) == (1, "")
    assert "holds the keys of the robot reachy-1: robots are admitted and revoked at the gateway" in complaint
    assert not (tmp_path / "robot" / "admitted").exists()


def test_secrets_are_never_printed(run, tmp_path):
    told = run("gateway")[1] + run("robot", "reachy-1", directory=tmp_path / "robot")[1]
    for where in ("gateway", "robot"):
        assert (tmp_path / where / "self.key").read_text().strip() not in told


def test_the_list_tells_every_robot_and_key(run):
    one, two = new_public(), new_public()
    run("admit", "reachy-2", two)
    run("admit", "reachy-1", one)
    assert run("list") == (0, f"reachy-1\t{one}\nreachy-2\t{two}\n", "")


def test_the_list_tells_who_is_connected_if_the_gateways_health_answers(run, monkeypatch):
    one, two = new_public(), new_public()
    run("admit", "reachy-1", one)
    run("admit", "reachy-2", two)
    connections = [{"robot": "reachy-1", "key": one, "since": 1796169600}]
    server = HealthServer("127.0.0.1", 0, lambda: {"ok": False, "connections": connections})
    monkeypatch.setenv("REACHY_HEALTH_PORT", str(server.port))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the command must not use this proxy
    lines = f"reachy-1\t{one}\tconnected since 2026-12-02 00:00:00 UTC\nreachy-2\t{two}\tnot connected\n"
    assert run("list") == (0, lines, "")
    server.close()
    status, told, complaint = run("list")
    assert (status, told) == (0, f"reachy-1\t{one}\nreachy-2\t{two}\n")
    assert "who is connected is not known here" in complaint
    assert "docker compose exec gemini-gateway reachy-keys list" in complaint


@pytest.mark.parametrize(
    "told", [{}, {"connections": 7}, {"connections": [{"key": 1}]}, {"connections": [{"key": "k", "since": "x"}]}]
)
def test_a_service_that_tells_no_connections_is_no_gateway(run, monkeypatch, told):
    run("admit", "reachy-1", public := new_public())
    server = HealthServer("127.0.0.1", 0, lambda: {"ok": True, **told})
    monkeypatch.setenv("REACHY_HEALTH_PORT", str(server.port))
    status, lines, complaint = run("list")
    server.close()
    assert (status, lines) == (0, f"reachy-1\t{public}\n")
    assert "is not known here" in complaint


@pytest.mark.parametrize("port", ["", "0", "none", "-1"])
def test_without_a_health_port_nobody_is_asked(run, monkeypatch, port):
    run("admit", "reachy-1", public := new_public())
    monkeypatch.setenv("REACHY_HEALTH_PORT", port)
    assert run("list") == (0, f"reachy-1\t{public}\n", "")


def test_the_list_of_nobody_is_empty_and_says_so_to_a_person(run):
    assert run("list") == (0, "", "no robot is admitted\n")


def test_a_robot_whose_file_is_damaged_is_not_admitted_anew_but_can_be_shut_out(run, tmp_path):
    run("admit", "reachy-1", new_public())
    path = tmp_path / "gateway" / "admitted" / "reachy-1.pub"
    path.write_text("damaged")
    status, told, complaint = run("admit", "reachy-1", new_public())
    assert (status, told, path.read_text()) == (1, "", "damaged")
    assert "mend the file, or shut the robot out with: reachy-keys revoke reachy-1" in complaint
    assert run("revoke", "reachy-1") == (0, "removed the damaged file of reachy-1; takes effect at once\n", "")


def test_the_list_complains_of_damaged_files(run, tmp_path):
    public = new_public()
    run("admit", "reachy-1", public)
    (tmp_path / "gateway" / "admitted" / "reachy-2.pub").write_text("damaged")
    status, told, complaint = run("list")
    assert (status, told) == (0, f"reachy-1\t{public}\n")
    assert "reachy-2.pub:1" in complaint


def test_a_key_or_all_keys_of_a_robot_are_revoked(run):
    publics = [new_public() for _ in range(3)]
    for public in publics:
        run("admit", "reachy-1", public)
    assert run("revoke", "reachy-1", publics[0])[1] == "revoked 1 key of reachy-1; takes effect at once\n"
    assert run("revoke", "reachy-1")[1] == "revoked 2 keys of reachy-1; takes effect at once\n"
    assert run("list")[1] == ""


def test_admitting_twice_is_no_mistake(run):
    public = new_public()
    run("admit", "reachy-1", public)
    assert run("admit", "reachy-1", public) == (0, "reachy-1 was admitted with this key already\n", "")


@pytest.mark.parametrize("public", HYPHENATED)
def test_a_key_that_begins_with_a_hyphen_is_a_key_like_any_other(run, tmp_path, public):
    assert run("trust", public, directory=tmp_path / "robot")[0] == 0
    assert (tmp_path / "robot" / "gateway.pub").read_text().strip() == public
    assert run("admit", "reachy-1", public)[0] == 0
    assert run("list")[1] == f"reachy-1\t{public}\n"
    assert run("revoke", "reachy-1", public)[0] == 0
    assert run("list")[1] == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("admit", "reachy-1", "nonsense"), "is not a public key"),
        (("admit", "Reachy One", "KEY"), "is no robot id"),
        (("robot", "Reachy One"), "is no robot id"),
        (("trust", "nonsense"), "is not a public key"),
        (("revoke", "reachy-9"), "no such key admitted"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_status_1_and_one_line_that_says_what_is_wrong(run, tmp_path, arguments, complaint):
    status, told, complaints = run(*[new_public() if argument == "KEY" else argument for argument in arguments])
    assert (status, told) == (1, "")
    (line,) = complaints.splitlines()
    assert line.startswith("reachy-keys: ")
    assert complaint in line
    assert not (tmp_path / "gateway").exists(), "nothing was written"


def test_a_key_that_is_there_is_not_replaced(run):
    run("gateway")
    status, _, complaint = run("gateway")
    assert status == 1
    assert "exists" in complaint


def test_a_key_of_another_robot_is_not_admitted(run):
    public = new_public()
    run("admit", "reachy-1", public)
    status, _, complaint = run("admit", "reachy-2", public)
    assert status == 1
    assert "admitted as reachy-1 already" in complaint


def test_a_directory_that_cannot_be_made_is_told_in_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, complaint = run("gateway", directory=tmp_path / "file")
    assert status == 1
    assert len(complaint.splitlines()) == 1
    assert str(tmp_path / "file") in complaint


@pytest.mark.parametrize("help_", ["-h", "--help"])
@pytest.mark.parametrize("command", ["gateway", "admit", "revoke", "adopt"])
def test_each_command_has_help_and_is_not_run_by_asking(run, tmp_path, command, help_):
    status, told, _ = run(command, help_)
    assert status == 0
    assert f"usage: reachy-keys {command}" in told
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("admit",)])
def test_what_is_no_command_is_status_2_with_the_usage(run, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "usage: reachy-keys" in capsys.readouterr().err


def test_the_directory_comes_from_the_environment(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("REACHY_KEYS_DIR", str(tmp_path / "elsewhere"))
    assert main(["gateway"]) == 0
    assert (tmp_path / "elsewhere" / "self.key").exists()
    assert str(tmp_path / "elsewhere") in capsys.readouterr().out


def test_the_demos_keys_fill_both_directories_and_stay_when_made_again(run, tmp_path):
    robot = tmp_path / "robot"
    assert run("demo", str(robot), "reachy-demo")[0] == 0
    first = load_robot(robot)
    assert first.robot == "reachy-demo"
    assert first.gateway_public == load_pair(tmp_path / "gateway", "").public
    assert Keyring(tmp_path / "gateway").robot_of(first.keys.public.decode()) == "reachy-demo"
    assert run("demo", str(robot), "reachy-demo")[0] == 0
    assert load_robot(robot) == first
    assert len(Keyring(tmp_path / "gateway").robots["reachy-demo"]) == 1


@pytest.mark.parametrize("given", ["", " ", "\ufeff"])
def test_an_empty_variable_is_the_default_directory_and_not_this_one(tmp_path, monkeypatch, capsys, given):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REACHY_KEYS_DIR", given)
    assert main(["gateway"]) == 0
    assert (tmp_path / "home" / ".config" / "reachy-link" / "self.key").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


def test_a_home_of_nobody_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv("REACHY_KEYS_DIR", "~nobody-here/keys")
    assert main(["gateway"]) == 1
    assert "write the whole path" in capsys.readouterr().err


# --- operators --------------------------------------------------------------------------------------------------------


def test_operators_and_viewers_are_admitted_listed_and_dismissed(run):
    robot, anna, tom = new_public(), new_public(), new_public()
    run("admit", "reachy-1", robot)
    assert run("viewer", "tom", tom) == (0, "tom may watch; takes effect at once\n", "")
    assert run("operator", "anna", anna) == (0, "anna may watch and command; takes effect at once\n", "")
    assert run("operator", "anna", anna) == (0, "anna was an operator already\n", "")
    assert run("viewer", "tom", tom) == (0, "tom was a viewer already\n", "")
    assert run("list") == (0, f"reachy-1\t{robot}\noperator\tanna\t{anna}\nviewer\ttom\t{tom}\n", "")
    assert run("dismiss", "anna") == (0, "dismissed 1 key of anna; takes effect at once\n", "")
    assert run("dismiss", "tom", tom) == (0, "dismissed 1 key of tom; takes effect at once\n", "")
    assert run("list") == (0, f"reachy-1\t{robot}\n", "")


def test_the_list_complains_of_operators_files(run, tmp_path):
    public = new_public()
    run("operator", "anna", public)
    (tmp_path / "gateway" / "viewers").mkdir()
    (tmp_path / "gateway" / "viewers" / "tom.pub").write_text(public)
    (tmp_path / "gateway" / "viewers" / "eve.pub").write_text("damaged")
    status, told, complaint = run("list")
    assert (status, told) == (0, f"viewer\ttom\t{public}\n")
    assert "eve.pub:1" in complaint
    assert "may only watch" in complaint
    (tmp_path / "gateway" / "operators" / "max.pub").write_text("damaged")
    assert run("dismiss", "max")[1] == "removed the file of max; takes effect at once\n"


@pytest.mark.parametrize("public", HYPHENATED)
def test_an_operators_key_may_begin_with_a_hyphen(run, public):
    assert run("operator", "anna", public)[0] == 0
    assert run("dismiss", "anna", public)[0] == 0
    assert run("viewer", "anna", public)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("operator", "anna", "nonsense"), "is not a public key"),
        (("viewer", "Anna B", "KEY"), "is no viewer's name"),
        (("dismiss", "anna"), "no such key admitted"),
        (("console", "CONSOLE", "Anna B", "browser-1"), "is no operator's name"),
        (("console", "CONSOLE", "console", "browser-1", "../browser-2"), "is no robot id"),
        (("console", "GATEWAY", "console", "browser-1"), "is the gateway's own directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_with_operators_is_one_line_and_nothing_is_written(run, tmp_path, arguments, complaint):
    places = {"KEY": new_public(), "CONSOLE": str(tmp_path / "console"), "GATEWAY": str(tmp_path / "gateway")}
    status, told, complaints = run(*[places.get(argument, argument) for argument in arguments])
    assert (status, told) == (1, "")
    (line,) = complaints.splitlines()
    assert complaint in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ("operator", "anna", new_public()),
        ("viewer", "anna", new_public()),
        ("dismiss", "anna"),
        ("console", "console", "console", "browser-1"),
        ("adopt", "admitted"),
    ],
    ids=lambda command: command[0],
)
def test_operators_are_not_admitted_at_a_robot(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    run("robot", "reachy-1", directory=tmp_path / "robot")
    status, told, complaint = run(*command, directory=tmp_path / "robot")
    assert (status, told) == (1, "")
    assert "holds the keys of the robot reachy-1" in complaint
    assert list(tmp_path.iterdir()) == [tmp_path / "robot"]


def test_a_consoles_directory_is_filled_and_stays_when_filled_again(run, tmp_path):
    console, gateway = tmp_path / "console", tmp_path / "gateway"
    command = ("console", str(console), "page", "browser-1", "browser-2")
    status, told, _ = run(*command)
    assert status == 0
    assert told == f"keys ready: gateway in {gateway}, page and 2 robots in {console}\n"
    pair = load_pair(console, "")
    assert (console / "gateway.pub").read_text().strip().encode() == load_pair(gateway, "").public
    assert sorted(path.name for path in console.iterdir() if path.is_dir()) == ["browser-1", "browser-2"]
    robots = [load_robot(console / robot) for robot in ("browser-1", "browser-2")]
    assert [robot.robot for robot in robots] == ["browser-1", "browser-2"]
    listed = run("list")[1]
    assert listed.splitlines() == [
        *(f"{robot.robot}\t{robot.keys.public.decode()}" for robot in robots),
        f"operator\tpage\t{pair.public.decode()}",
    ]
    assert run(*command)[0] == 0
    assert run("list")[1] == listed
    assert load_pair(console, "") == pair
    shown = run("show", directory=console)[1].splitlines()[-1]
    assert shown == f"reachy-keys operator NAME '{pair.public.decode()}'"


def test_a_console_that_somebody_made_a_viewer_stays_one(run, tmp_path):
    command = ("console", str(tmp_path / "console"), "page", "browser-1")
    run(*command)
    public = load_pair(tmp_path / "console", "").public.decode()
    run("dismiss", "page")
    run("viewer", "page", public)
    assert run(*command)[0] == 0
    assert run("list")[1].splitlines()[-1] == f"viewer\tpage\t{public}"


def test_a_console_of_version_0_1_keeps_its_robots(run, tmp_path):
    """It had a folder for each robot, and no key of its own."""
    run("demo", str(tmp_path / "console" / "browser-1"), "browser-1")
    before = load_robot(tmp_path / "console" / "browser-1")
    assert run("console", str(tmp_path / "console"), "page", "browser-1")[0] == 0
    assert load_robot(tmp_path / "console" / "browser-1") == before
    assert run("list")[1].startswith(f"browser-1\t{before.keys.public.decode()}\noperator\tpage\t")


def test_a_robots_directory_does_not_become_a_consoles(run, tmp_path):
    run("demo", str(tmp_path / "robot"), "reachy-1")
    status, _, complaint = run("console", str(tmp_path / "robot"), "page", "browser-1")
    assert status == 1
    assert "holds the keys of the robot reachy-1: give the console a directory of its own" in complaint


def test_robots_of_an_older_folder_are_adopted_and_the_command_that_follows_is_done(run, tmp_path):
    old, robot = tmp_path / "before" / "admitted", tmp_path / "robot"
    command = ("adopt", str(old), "demo", str(robot), "reachy-demo")
    assert run("adopt", str(old)) == (0, "", ""), "there is nothing to do"
    public = new_public()
    run("admit", "reachy-1", public, directory=tmp_path / "before")
    run("admit", "reachy-2", new_public(), directory=tmp_path / "before")
    (old / "reachy-3.pub").write_text("damaged")
    status, told, complaint = run(*command)
    assert status == 0, "one damaged file keeps out one robot"
    assert told.splitlines()[0] == f"adopted reachy-1, reachy-2 from {old}"
    assert "keys ready" in told
    assert "reachy-3.pub is not adopted" in complaint
    assert list(Keyring(tmp_path / "gateway").robots) == ["reachy-1", "reachy-2", "reachy-demo"]
    assert run("revoke", "reachy-2")[0] == 0
    assert run(*command)[1].count("\n") == 1
    assert Keyring(tmp_path / "gateway").robots["reachy-1"] == [public]
    assert "reachy-2" not in Keyring(tmp_path / "gateway").robots


def test_nothing_follows_an_adoption_that_is_refused(run, tmp_path):
    (tmp_path / "before").mkdir()
    (tmp_path / "before").chmod(0o777)
    status, told, complaint = run("adopt", str(tmp_path / "before"), "gateway")
    assert (status, told) == (1, "")
    assert "chmod go-w" in complaint
    assert not (tmp_path / "gateway").exists()


def test_the_status_of_an_adoption_is_that_of_the_command_that_follows(run, tmp_path):
    assert run("adopt", str(tmp_path / "before"), "revoke", "reachy-9")[0] == 1
