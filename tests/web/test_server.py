import socket

import pytest

from skinmnist.errors import InputError
from skinmnist.web.server import open_socket


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
