"""What the broker may listen on."""

from __future__ import annotations

import pytest

from tqbroker_broker.addresses import AddressError, parse_listen


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ("127.0.0.1:7730", "127.0.0.1:7730"),
        ("127.1.2.3:1", "127.1.2.3:1"),
        ("localhost", "localhost:7730"),
        ("localhost:0", "localhost:0"),
        ("[::1]:99", "[::1]:99"),
        ("::1", "[::1]:7730"),
        ("unix:/run/tq.sock", "unix:/run/tq.sock"),
        ("unix:///run/tq.sock", "unix:/run/tq.sock"),
    ],
)
def test_this_machine_and_unix_sockets_are_allowed(given: str, bound: str) -> None:
    assert parse_listen(given) == bound


@pytest.mark.parametrize("given", ["0.0.0.0:7730", "192.168.1.4", "example.org:7730", "[::]:7730", "*:7730"])
def test_anything_else_is_refused_until_there_is_a_login(given: str) -> None:
    with pytest.raises(AddressError, match="no TLS and no login yet"):
        parse_listen(given)


@pytest.mark.parametrize("given", ["", ":7730", "localhost:http", "localhost:70000", "unix:relative.sock"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(AddressError, match="cannot listen on"):
        parse_listen(given)


def test_a_path_too_long_for_a_socket_is_refused_before_the_kernel_does() -> None:
    with pytest.raises(AddressError, match="at most 107 bytes"):
        parse_listen("unix:/" + "x" * 107)
