"""URLs as etcd spells places: "http://host:port", where we write "tcp://host:port".

Beside addresses.py, which they become. A URL names a place only: neither a path nor a user belongs
to it. Pure; knows nobody who listens there.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from metastore.transport.addresses import Address, parse_connect_address
from metastore.transport.errors import BadAddress

SCHEMES = ("http", "https")
_EXPECTED = "must look like http://HOST:PORT or https://HOST:PORT"


class Url(NamedTuple):
    scheme: str
    host: str
    port: int

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)


def parse_url(text: str) -> Url:
    """Raises BadAddress. As with etcd the port must be there and a path must not."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadAddress(f"URL {text!r}: {error}") from None
    rest = text.partition("://")[2]
    if parts.scheme not in SCHEMES or not host or not port or rest != parts.netloc:
        raise BadAddress(f"URL {text!r}: {_EXPECTED}")
    if "@" in rest:
        raise BadAddress(f"URL {text!r}: {_EXPECTED}, without a user")
    address = parse_connect_address(str(Address(host, port)))
    return Url(parts.scheme, address.host, address.port)


def split_urls(text: str) -> Sequence[str]:
    """Of URLs with commas, each once, in this order. Raises BadAddress for one that is none."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for url in found:
        parse_url(url)
    return found


def peer_url(address: str) -> str:
    """Of a peer socket, as etcd's clients see it. Nodes speak no HTTP, and none of them tries."""
    return "http://" + address.removeprefix("tcp://")
