"""The address at which a gateway listens, and its text form, as both ends of the link use them. Pure."""

import re
from collections.abc import Iterable
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

_ITEM: Final = re.compile(r"(\[[^\[\]]*\]|[^\[\]:/@]*)(?::([0-9]{1,6})(?:\+([0-9]{1,6}))?)?")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""If a host's last label matches this, the host is an IPv4 address, also in the forms that only old C programs know."""
_ZONE: Final = re.compile(r"[A-Za-z0-9._-]{1,15}")
"""Names of network interfaces that Linux and libzmq both accept; libzmq raises for any other."""
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NAME_MAX: Final = 253
_PORT_MAX: Final = 65535
ANY: Final = "*"
"""Every address of this machine, of both families."""


class Address(NamedTuple):
    """The address at which a gateway listens. The host is in lower case and ASCII; an IPv6 address has brackets."""

    host: str
    up_port: int = 5555
    down_port: int = 5556

    @property
    def named(self) -> bool:
        """Whether the host is a name, which must be looked up before the robot can dial."""
        return not (is_ipv6(self.host) or _NUMBER.fullmatch(self.host.rpartition(".")[2]))

    @property
    def same(self) -> "Address":
        """The address without the dot at the end of a name, for comparisons. The dot only says that the name is complete."""
        return self._replace(host=self.host.rstrip("."))

    def at(self, ip: str) -> "Address":
        """The same ports at an IP address of the host."""
        return self._replace(host=ip)

    def __str__(self) -> str:
        return f"{self.host}:{self.up_port}+{self.down_port}"


def spread(robot: str, addresses: Iterable[Address]) -> list[Address]:
    """The addresses in the robot's own order, which is the same at each start (rendezvous hashing).

    Robots spread evenly over the gateways. The robots of a gateway that is gone spread evenly over the others. A gateway that
    is added takes its share from all others, and no other robot moves.
    """
    return sorted(addresses, key=lambda address: blake2b(f"{robot} {address}".encode(), digest_size=8).digest())


def is_ipv6(host: str) -> bool:
    """Whether a host, as this module makes it, is an IPv6 address."""
    return host.startswith("[")


def endpoint(host: str, port: int) -> str:
    """A host and a port as libzmq writes them."""
    return f"tcp://{host}:{port}"


def bracketed(ip: str) -> str:
    """An IP address as a host: an IPv6 address gets brackets.

    Raises:
        ValueError: If the text is no IP address.
    """
    return f"[{IPv6Address(ip)}]" if ":" in ip else str(IPv4Address(ip))


def plain(peer: str) -> str:
    """A peer's address for people: an IPv4 address in its usual form, also from a socket of both families."""
    return peer.removeprefix("::ffff:") if "." in peer else peer


def parse(text: str, up_port: int = 5555, down_port: int = 5556) -> list[Address]:
    """The gateways in a list with commas between them, each ``host``, ``host:UP`` or ``host:UP+DOWN``.

    Args:
        text: The list.
        up_port: The up port of a gateway without one.
        down_port: The down port of a gateway without one.

    Raises:
        ValueError: If the list is wrong; the message names every mistake.
    """
    found: list[Address] = []
    problems = []
    for item in (item.strip() for item in text.split(",")):
        try:
            address = _parsed(item, up_port, down_port)
        except ValueError as problem:
            problems.append(str(problem))
            continue
        if address.same in [known.same for known in found]:
            problems.append(f"{item!r} is there twice")
        else:
            found.append(address)
    if problems:
        raise ValueError("; ".join(problems))
    return found


def readable(texts: Iterable[str]) -> list[Address]:
    """The gateways in texts that another program wrote, each once. Texts that cannot be read are left out."""
    found: dict[Address, Address] = {}
    for text in texts:
        try:
            addresses = parse(text)
        except ValueError:
            continue
        for address in addresses:
            found.setdefault(address.same, address)
    return list(found.values())


def _parsed(item: str, up_port: int, down_port: int) -> Address:
    match = _ITEM.fullmatch(item)
    if not match or not match[1]:
        raise ValueError(f"{item!r} is not host, host:UP or host:UP+DOWN{_advice(item)}")
    host, up, down = match.groups()
    if host == ANY:
        raise ValueError(f"{item!r}: a robot dials one host, not all")
    address = Address(_host(host), int(up or up_port), int(down or down_port))
    if not all(1 <= port <= _PORT_MAX for port in address[1:]):
        raise ValueError(f"{item!r}: a port is from 1 to {_PORT_MAX}")
    if address.up_port == address.down_port:
        raise ValueError(f"{item!r}: up and down are two ports, not {address.up_port} twice")
    return address


def _advice(item: str) -> str:
    if scheme := _SCHEME.match(item):
        return f" (write it without {scheme[0]})"
    return " (an IPv6 address is written in brackets)" if item.count(":") > 1 and "[" not in item else ""


def listening(text: str) -> str:
    """The host to listen on: ``*``, an IP address (IPv6 with or without brackets), or a name of this machine.

    Raises:
        ValueError: If the text is none of these.
    """
    host = text.strip()
    return host if host == ANY else _host(f"[{host}]" if ":" in host and not host.startswith("[") else host)


def _host(text: str) -> str:
    """A host in the form in which it is dialled."""
    if text.startswith("["):
        return _ipv6(text)
    try:
        host = (text if text.isascii() else text.encode("idna").decode()).lower()
    except UnicodeError:
        host = ""  # IDNA cannot encode this name
    name = host.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(text)
    if len(name) > _NAME_MAX or not all(map(_LABEL.fullmatch, labels)):
        rule = f"letters, digits, - and _, at most 63 between two dots and {_NAME_MAX} in all, with no - at an end"
        raise ValueError(f"{text!r} is no name of a host ({rule})")
    return host


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        rule = "four numbers from 0 to 255 without leading zeros"
        raise ValueError(f"{text!r} is no IPv4 address ({rule})") from None


def _ipv6(text: str) -> str:
    address, percent, zone = text[1:].removesuffix("]").partition("%")
    try:
        host = f"[{IPv6Address(address)}{percent}{zone}]"
    except ValueError:
        host = ""
    if not host or (percent and not _ZONE.fullmatch(zone)):
        raise ValueError(f"{text!r} is no IPv6 address in brackets (as [fd00::1] or [fe80::1%eth0])")
    return host
