import socket

import pytest

from skinmnist.errors import InputError
from skinmnist.web.server import host_name, is_own_name, open_socket


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="name a free one with --port"):
            open_socket("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("192.0.2.1", 0, "cannot listen on"),
        ("no such host", 0, "expected an address of this machine"),
        ("a" * 70 + ".b", 0, "expected an address of this machine"),
        ("127.0.0.1", 65_536, "expected 0"),
        ("127.0.0.1", -1, "expected 0"),
    ],
)
def test_addresses_that_are_none(host, port, message):
    with pytest.raises(InputError, match=message):
        open_socket(host, port)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8000", "localhost"),
        ("LOCALHOST", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("localhost:", "localhost"),
        ("localhost:80:90", "localhost:80"),
        ("localhost:evil", ""),
        ("[::1", ""),
        ("", ""),
    ],
)
def test_names_in_hosts(header, name):
    assert host_name(header) == name


@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.1.5"])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_always_meant(name, listening):
    assert is_own_name(name, listening)


@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "0.0.0.0", "192.168.1.5"])
@pytest.mark.parametrize(
    "name",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "localhost:80", "2130706433"],
)
def test_other_names_never(name, listening):
    assert not is_own_name(name, listening)


def test_other_addresses_only_where_they_are_listened_on():
    assert not is_own_name("192.168.1.5", "127.0.0.1")
    assert not is_own_name("0.0.0.0", "127.0.0.1")
    assert not is_own_name("192.168.1.6", "192.168.1.5")
    assert is_own_name("192.168.1.5", "192.168.1.5")
    assert is_own_name("192.168.1.5", "0.0.0.0")
    assert is_own_name("fe80::1", "::")
    assert is_own_name("lab-pc", "lab-pc")
