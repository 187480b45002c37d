"""Where gateways listen, as an address and as text. Pure."""

import re
from typing import Final, NamedTuple

_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s\[\]:,;+/@*]+)(?::(\d{1,6})(?:\+(\d{1,6}))?)?")
_PORT_MAX: Final = 65535


class Address(NamedTuple):
    """Where a gateway listens. An IPv6 address has its brackets."""

    host: str
    up_port: int = 5555
    down_port: int = 5556

    @property
    def named(self) -> bool:
        """Whether the host is a name, which must be known where it is dialled."""
        return not re.fullmatch(r"\[.*|[\d.]+", self.host)

    def __str__(self) -> str:
        return f"{self.host}:{self.up_port}+{self.down_port}"


def parse(text: str, up_port: int = 5555, down_port: int = 5556) -> list[Address]:
    """The gateways in a list with commas, each ``host``, ``host:UP`` or ``host:UP+DOWN``.

    Args:
        text: The list.
        up_port: Where no port is given.
        down_port: Where no second port is given.

    Raises:
        ValueError: With everything that is wrong.
    """
    found: list[Address] = []
    problems = []
    for item in (item.strip() for item in text.split(",")):
        match = _ADDRESS.fullmatch(item)
        if not match:
            brackets = " (an IPv6 address is written in brackets)" if item.count(":") > 1 else ""
            problems.append(f"{item!r} is not host, host:UP or host:UP+DOWN{brackets}")
            continue
        host, up, down = match.groups()
        address = Address(host, int(up or up_port), int(down or down_port))
        if not all(1 <= port <= _PORT_MAX for port in address[1:]):
            problems.append(f"{item!r}: a port is from 1 to {_PORT_MAX}")
        elif address.up_port == address.down_port:
            problems.append(f"{item!r}: up and down are two ports, not {address.up_port} twice")
        elif address in found:
            problems.append(f"{item!r} is there twice")
        found.append(address)
    if problems:
        raise ValueError("; ".join(problems))
    return found
