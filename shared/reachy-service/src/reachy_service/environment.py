"""Variables in the environment that no setting reads: misspelt names, and variables that an orchestrator sets by itself."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from reachy_link.text import BOM

VARIABLES: Final = frozenset(
    [
        "BASE_IMAGE",
        "COMPOSE_FILE",
        "CONSOLE_ADMIN",
        "CONSOLE_GATEWAY",
        "CONSOLE_HALF_DUPLEX",
        "CONSOLE_HOST",
        "CONSOLE_NAMES",
        "CONSOLE_PLAIN",
        "CONSOLE_PORT",
        "CONSOLE_QUIET_S",
        "CONSOLE_STATE_DIR",
        "CONSOLE_TLS_CERT",
        "CONSOLE_TLS_KEY",
        "GATEWAY_ADMIN_PORT",
        "GATEWAY_ADVERTISE",
        "GATEWAY_DOWN_PORT",
        "GATEWAY_DRAIN_S",
        "GATEWAY_HOST",
        "GATEWAY_LEDGER",
        "GATEWAY_MAX_ROBOTS",
        "GATEWAY_KEYS_FROM",
        "GATEWAY_NAME",
        "GATEWAY_RECORDINGS_DIR",
        "GATEWAY_ROBOTS_FILE",
        "GATEWAY_TOOLS_DIR",
        "GATEWAY_ROBOT_BYTES_PER_S",
        "GATEWAY_ROBOT_MESSAGES_PER_S",
        "GATEWAY_SHORTCUT",
        "GATEWAY_SIM_ROOT",
        "GATEWAY_SIM_URL",
        "GATEWAY_STORE_PLAIN",
        "GATEWAY_STORE_ROOT_CERT",
        "GATEWAY_STORE_URL",
        "GATEWAY_STORE_URL_FILE",
        "GATEWAY_TRANSCRIPTS_DIR",
        "GATEWAY_TRANSCRIPTS_KEEP_DAYS",
        "GATEWAY_UPLINK_MS",
        "GATEWAY_UP_PORT",
        "GEMINI_API_KEY",
        "GEMINI_API_KEY_FILE",
        "GEMINI_MODEL",
        "GEMINI_ROOT_CERT",
        "GOOGLE_GEMINI_BASE_URL",
        "GRAFANA_IMAGE",
        "PROMETHEUS_IMAGE",
        "REACHY_HEALTH_HOST",
        "REACHY_HEALTH_NAMES",
        "REACHY_HEALTH_PORT",
        "REACHY_KEYS_DIR",
        "REACHY_LOG_LEVEL",
        "ROBOT_DAEMON_HOST",
        "ROBOT_DAEMON_PORT",
        "ROBOT_DEVICE",
        "ROBOT_DOWN_PORT",
        "ROBOT_GATEWAY",
        "ROBOT_GATEWAYS_FILE",
        "ROBOT_GATEWAY_ORDER",
        "ROBOT_HALF_DUPLEX",
        "ROBOT_HALF_DUPLEX_TAIL_MS",
        "ROBOT_PATIENCE_S",
        "ROBOT_PUSH_TO_TALK",
        "ROBOT_SHOW_TRANSCRIPTS",
        "ROBOT_SPEAKER_WAV",
        "ROBOT_UP_PORT",
        "ROBOT_BODY",
        "ROBOT_MOTION_FILE",
        "ROBOT_MOVES_DIR",
        "ROBOT_UTTERANCES",
        "SIM_SCENARIO",
        "TZ",
        "VALKEY_IMAGE",
    ]
)
"""Every variable in ``.env.example``: any of our programs may be started with the variables of all."""
PREFIXES: Final = ("GATEWAY_", "ROBOT_", "REACHY_", "GEMINI_", "CONSOLE_")
FOREIGN: Final = ("REACHY_MINI_",)
"""Prefixes of others: the robot's SDK has variables of its own."""
NEAR: Final = 0.75
"""How similar a name with one of our prefixes must be to a variable to be taken for it."""
VERY_NEAR: Final = 0.9
"""The same for any other name, which may be anybody's. The simulator's variables are judged by this, too: the gateway does not
know them all."""
SERVICE_LINKS: Final = "enableServiceLinks: false keeps such variables away"

_SERVICE: Final = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)$")
_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://\S*")


def of_an_orchestrator(name: str, value: str) -> bool:
    """Whether Kubernetes sets this variable for a Service, such as ``GATEWAY_PORT=tcp://10.0.0.1:80``."""
    upper = name.upper()
    return bool(_SERVICE.search(upper)) or (upper.endswith("_PORT") and bool(_ADDRESS.fullmatch(value.strip())))


def suspects(environment: Mapping[str, str]) -> list[str]:
    """A line for each variable that may be meant for us. Names only: a value may be a secret."""
    found: list[str] = []
    services: list[str] = []
    for name, value in sorted(environment.items()):
        bare = name.lstrip(BOM).upper()
        if of_an_orchestrator(bare, value):
            if bare in VARIABLES:
                found.append(f"{name} is the address of a Kubernetes Service, not a port: the default is used; {SERVICE_LINKS}")
            elif bare.startswith(PREFIXES):
                services.append(name)
        elif bare not in VARIABLES:
            ours = bare.startswith(PREFIXES) and not bare.startswith(FOREIGN)
            near = get_close_matches(bare, VARIABLES, 1, NEAR if ours else VERY_NEAR)
            if near or ours:
                found.append(f"{name}: no setting has this name, so it does nothing" + (f"; is it {near[0]}?" if near else ""))
        elif bare != name.upper():
            found.append(f"{bare} has a byte order mark before its name, so it does nothing: save its file without one")
    if services:
        found.append(f"ignored, because they describe a Kubernetes Service: {', '.join(services)}; {SERVICE_LINKS}")
    return found
