import pytest

from reachy_service.environment import VARIABLES, suspects


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_ROBOT_FILE", "GATEWAY_ROBOTS_FILE"),
        ("GATEWAY_ROBOTSFILE", "GATEWAY_ROBOTS_FILE"),
        ("gateway_robot_file", "GATEWAY_ROBOTS_FILE"),
        ("GATEWAY_UPPORT", "GATEWAY_UP_PORT"),
        ("GEMINI_APIKEY", "GEMINI_API_KEY"),
        ("GEMINI_KEY", "GEMINI_API_KEY"),
        ("GEMNI_API_KEY", "GEMINI_API_KEY"),
        ("REACHY_LOGLEVEL", "REACHY_LOG_LEVEL"),
        ("ROBOT_GATEWAYS", "ROBOT_GATEWAY"),
        ("SIM_SZENARIO", "SIM_SCENARIO"),
        ("\ufeffGEMINI_MODELL", "GEMINI_MODEL"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_one_and_without_its_value(name, meant):
    (line,) = suspects({name: "the-value"})
    assert line.startswith(f"{name}: no setting has this name")
    assert f"is it {meant}?" in line
    assert "the-value" not in line


@pytest.mark.parametrize("name", ["GATEWAY_COLOUR", "ROBOT_NAME", "REACHY_X", "GEMINI_SANDBOX"])
def test_a_name_that_is_like_none_is_told_without_a_guess(name):
    (line,) = suspects({name: "x"})
    assert name in line
    assert "is it" not in line


def test_what_is_nobodys_or_somebody_elses_is_not_told():
    others = (
        "PATH",
        "HOME",
        "LANG",
        "TZDIR",
        "GATEWAY",
        "SIM_MODE",
        "SIM_TLS_DIR",
        "REACHY_MINI_DAEMON",
        "GOOGLE_API_KEY",
        "ROBOTS",
    )
    assert suspects(dict.fromkeys(others, "x")) == []
    assert suspects(dict.fromkeys(VARIABLES, "x")) == []
    assert suspects({name.lower(): "x" for name in VARIABLES}) == []


def test_a_name_behind_a_byte_order_mark_is_told():
    (line,) = suspects({"\ufeffGEMINI_API_KEY": "the-value"})
    assert "GEMINI_API_KEY has a byte order mark" in line
    assert "the-value" not in line


SERVICE = {
    "GATEWAY_SERVICE_HOST": "10.0.0.1",
    "GATEWAY_SERVICE_PORT": "80",
    "GATEWAY_SERVICE_PORT_UP": "5555",
    "GATEWAY_PORT": "tcp://10.0.0.1:80",
    "GATEWAY_PORT_5555_TCP": "tcp://10.0.0.1:5555",
    "GATEWAY_PORT_5555_TCP_PROTO": "tcp",
    "GATEWAY_PORT_5555_TCP_PORT": "5555",
    "GATEWAY_PORT_5555_TCP_ADDR": "10.0.0.1",
}


def test_what_kubernetes_tells_of_a_service_is_one_line_and_no_misspelling():
    (line,) = suspects(SERVICE | {"KUBERNETES_SERVICE_HOST": "10.0.0.2", "KUBERNETES_PORT": "tcp://10.0.0.2:443"})
    assert all(name in line for name in SERVICE)
    assert "KUBERNETES_" not in line
    assert "no setting" not in line


def test_a_setting_that_kubernetes_has_taken_is_a_line_of_its_own():
    (line,) = suspects({"GATEWAY_UP_PORT": "tcp://10.0.0.1:5555"})
    assert line.startswith("GATEWAY_UP_PORT is the address of a Kubernetes Service, not a port")
