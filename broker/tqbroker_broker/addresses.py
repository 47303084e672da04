"""Which addresses the broker may listen on: this machine's own only, because nothing else is protected yet."""

from __future__ import annotations

import ipaddress

DEFAULT_PORT = 7730


class AddressError(ValueError):
    """An address that cannot be listened on; the message is one sentence for the operator."""


def parse_listen(address: str) -> str:
    """The address as gRPC binds it. Takes HOST, HOST:PORT, [IPV6]:PORT and unix:/PATH. Raises AddressError."""
    if address.startswith("unix:"):
        return _unix(address)
    host, port = _split(address)
    if not _is_loopback(host):
        raise AddressError(
            f"cannot listen on {address}: there is no TLS and no login yet, so only this machine may connect;"
            f" use 127.0.0.1:{port}, [::1]:{port} or unix:/PATH"
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unix(address: str) -> str:
    path = address.removeprefix("unix:").removeprefix("//")
    if not path.startswith("/"):
        raise AddressError(f"cannot listen on {address}: a unix socket needs an absolute path, as in unix:/run/tq.sock")
    if len(path.encode()) > 107:
        raise AddressError(f"cannot listen on {address}: the path of a unix socket has at most 107 bytes")
    return f"unix:{path}"


def _split(address: str) -> tuple[str, int]:
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        text = rest.removeprefix(":")
    elif address.count(":") > 1:
        host, text = address, ""
    else:
        host, _, text = address.partition(":")
    port = int(text) if text.isascii() and text.isdecimal() else (DEFAULT_PORT if not text else -1)
    if not host or not 0 <= port <= 65535:
        raise AddressError(f"cannot listen on {address!r}: write HOST:PORT, for example 127.0.0.1:{DEFAULT_PORT}")
    return host, port


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
