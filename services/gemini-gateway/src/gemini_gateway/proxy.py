"""Finds in the environment the proxy through which Gemini is reached. Pure.

Three libraries would each read the environment in their own way: one ends the program at a proxy that it cannot use, another
asks a proxy for servers on this machine. So the gateway reads the environment once, and tells the libraries.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

NAMES: Final = ("wss_proxy", "https_proxy", "all_proxy")
"""The variables that name a proxy, each in lower and in upper case. The first one that is set is used."""
GOOGLE: Final = "generativelanguage.googleapis.com"


def proxy_for(base_url: str | None, environment: Mapping[str, str]) -> str | None:
    """The proxy's URL; None if the server is reached without a proxy.

    Servers on this machine, or on a network of containers, are never reached through a proxy, because no proxy knows them.

    Args:
        base_url: The server's URL; None is Google's.
        environment: The environment, with the variables that name proxies.

    Raises:
        ValueError: If the named proxy cannot be used. The message does not contain the password of the proxy's URL.
    """
    host = (urlsplit(base_url).hostname if base_url else GOOGLE) or ""
    if _is_near(host) or _is_excepted(host, environment):
        return None
    for name in (spelling for lower in NAMES for spelling in (lower, lower.upper())):
        if value := environment.get(name, "").strip():
            return _checked(value, name)
    return None


def _is_near(host: str) -> bool:
    """Whether a host is this machine, or has a name that exists only in a network of containers."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        bare = host.rstrip(".")
        return "." not in bare or bare.endswith(".localhost")


def _is_excepted(host: str, environment: Mapping[str, str]) -> bool:
    """Whether ``NO_PROXY`` names the host, a domain that contains it, or every host by a star."""
    listed = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    for item in (item.strip().lower().partition(":")[0] for item in listed.split(",")):
        domain = item.removeprefix("*").removeprefix(".")
        if item == "*" or (domain and (host == domain or host.endswith(f".{domain}"))):
            return True
    return False


def _checked(value: str, name: str) -> str:
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", url):
        scheme = value.partition("://")[0] if "://" in value else ""
        foreign = re.fullmatch(r"[A-Za-z][\w+.-]{0,19}", scheme) and scheme.lower() not in ("http", "https")
        kind = f" of kind {scheme!r}" if foreign else ""
        remedy = "write http://HOST:PORT, unset it, or name the server in NO_PROXY"
        raise ValueError(f"{name}: Gemini cannot be reached through this proxy{kind}; {remedy}")
    return url


def password_of(proxy: str | None) -> str:
    """The password in a proxy's URL, which must stay secret; empty if there is none."""
    return (urlsplit(proxy).password or "") if proxy else ""
