"""Broker URLs: `tq://host[:port]` and `tq+unix:///path/to.sock`."""

from __future__ import annotations

from tqbroker.exceptions import ImproperlyConfigured

DEFAULT_PORT = 7730
DEFAULT_URL = "tq://localhost"

_FORMS = f"write tq://host or tq://host:port (the default port is {DEFAULT_PORT}), or tq+unix:///path/to.sock"


def target_of(url: str) -> str:
    """What gRPC connects to for a broker URL. Raises ImproperlyConfigured naming the URL to write."""
    if not isinstance(url, str):
        raise ImproperlyConfigured(f"broker {url!r} is not a URL but of type {type(url).__name__}: {_FORMS}")
    url = url.strip()
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise ImproperlyConfigured(f"broker {shown(url)!r} is not a URL: {_FORMS}")
    if scheme == "tq":
        return _host_port(url, rest)
    if scheme == "tq+unix":
        return _socket(url, rest)
    if scheme == "tqs":
        raise ImproperlyConfigured(
            f"broker {shown(url)!r}: TLS is not there yet: run the broker on the same machine and write "
            f"{DEFAULT_URL} or tq+unix:///path/to.sock"
        )
    from tqbroker.foreign_urls import explain

    raise ImproperlyConfigured(explain(url))


def shown(url: str) -> str:
    """The URL without user and password."""
    _, login, address = url.rpartition("@")
    return f"...@{address}" if login else url


def _socket(url: str, path: str) -> str:
    if not path.startswith("/") or len(path) < 2:
        raise ImproperlyConfigured(f"broker {url!r} names no absolute path: write tq+unix:///path/to.sock")
    return f"unix:{path}"


def _host_port(url: str, rest: str) -> str:
    address = rest.removesuffix("/")
    if "@" in address:
        raise ImproperlyConfigured(f"broker tq://...@{address.rpartition('@')[2]}: no user or password: {_FORMS}")
    if not address or any(c in address for c in "/?#;, "):
        raise ImproperlyConfigured(f"broker {url!r} has more or less than one host and port: {_FORMS}")
    host, port = _split(address)
    if not host or not _is_port(port) or (":" in host and not host.startswith("[")):
        raise ImproperlyConfigured(f"broker {url!r} has no valid host and port: {_FORMS}")
    return f"{host}:{port}"


def _split(address: str) -> tuple[str, str]:
    """Host and port; an IPv6 address stands in brackets."""
    if address.endswith("]") or ":" not in address:
        return address, str(DEFAULT_PORT)
    host, _, port = address.rpartition(":")
    return host, port


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= 65535
