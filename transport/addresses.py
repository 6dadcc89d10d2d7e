"""Addresses: "tcp://host:port" as settings spell them.

Reading order 3. Connecting leaves names to libzmq, which asks the resolver again at every attempt;
listening resolves here, once, because libzmq refuses names there with an unhelpful reason.
"""

import ipaddress
import socket
from dataclasses import dataclass

from metastore.transport.errors import BadAddress, BindFailed

_SCHEME = "tcp://"
_HOST_CHARACTERS_MAX = 255


@dataclass(frozen=True, slots=True)
class Address:
    """`port` 0 means any free one, `host` "*" every interface; both only for listening."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def is_wildcard(self) -> bool:
        """Every interface: nothing that another machine could connect to, however it is spelled."""
        try:
            return self.host == "*" or ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False  # a name

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.is_ipv6 else self.host
        return f"{_SCHEME}{host}:{self.port or '*'}"


def parse_connect_address(text: str) -> Address:
    """Raises BadAddress unless the text names one host and one port."""
    address = _parse(text)
    if address.host == "*" or address.port == 0:
        raise BadAddress(f"address {text!r}: needs a host and a port, not a wildcard")
    return address


def parse_bind_address(text: str) -> Address:
    """Raises BadAddress. Port "*" or 0 is any free port; host "*" every interface."""
    return _parse(text)


def _parse(text: str) -> Address:
    if not isinstance(text, str) or not text.startswith(_SCHEME):
        raise BadAddress(f"address {text!r}: must look like tcp://host:port")
    host, colon, port = text[len(_SCHEME) :].rpartition(":")
    if not colon or not host:
        raise BadAddress(f"address {text!r}: must look like tcp://host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise BadAddress(f"address {text!r}: {host!r} is no IPv6 address")
    elif ":" in host:
        raise BadAddress(f"address {text!r}: an IPv6 address belongs in [brackets]")
    if len(host) > _HOST_CHARACTERS_MAX or not all(c.isalnum() or c in "-._*:" for c in host):
        raise BadAddress(f"address {text!r}: {host!r} is no host name")
    return Address(host, _parse_port(text, port))


def _parse_port(text: str, port: str) -> int:
    if port == "*":
        return 0
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise BadAddress(f"address {text!r}: port {port!r} is not a number from 0 to 65535")
    return int(port)


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host)
    except OSError:
        return False
    return True


def resolve_bind_address(text: str) -> Address:
    """The address with its host as a number. Raises BindFailed, also for a malformed text."""
    try:
        address = parse_bind_address(text)
    except BadAddress as error:
        raise BindFailed(text, str(error)) from None
    if address.host == "*" or address.is_ipv6:
        return address
    try:
        found = socket.getaddrinfo(address.host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise BindFailed(text, f"{address.host!r} does not resolve: {error}") from None
    return Address(str(found[0][4][0]), address.port)
