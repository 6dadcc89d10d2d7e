"""The values of settings: how each kind is read from a file, a variable or a flag.

Below settings.py. A parser takes text or a value of TOML and raises ValueError that says what is
expected; it knows neither the setting's name nor where the value came from.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metastore.transport.addresses import parse_bind_address, parse_connect_address
from metastore.transport.errors import BadAddress
from metastore.transport.member_ops import TEXT_CHARACTERS_MAX, Role

NODE_ID_MAX = (1 << 64) - 3  # above: the core's ids for its storage threads
MEMBERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the first configuration and where the others reach it."""

    node_id: int
    peer: str
    client: str
    status: str
    snapshot: str
    role: str = Role.VOTER.value

    @property
    def addresses(self) -> tuple[str, str, str, str]:
        return (self.peer, self.client, self.status, self.snapshot)

    def __str__(self) -> str:
        role = "" if self.role == Role.VOTER else f",{self.role}"
        return f"{self.node_id}={','.join(self.addresses)}{role}"


def number_from(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if type(number) is not int or not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def choice_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError("one of " + ", ".join(words))
        return value

    return parse


def parse_flag(value: object) -> bool:
    chosen = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(chosen, bool):
        raise ValueError("true or false")
    return chosen


def parse_path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("a path")
    return Path(value)


def parse_path_or_nothing(value: object) -> Path | None:
    return None if value == "" else parse_path(value)


def parse_name(value: object) -> str:
    expected = f"a printable text of at most {TEXT_CHARACTERS_MAX} characters"
    if not isinstance(value, str) or not value.isprintable() or len(value) > TEXT_CHARACTERS_MAX:
        raise ValueError(expected)
    return value


def parse_cluster_id(value: object) -> int:
    """A number from 1 to 2^64-1 as it is; any other name by its hash. Raises ValueError."""
    if isinstance(value, str) and value and not value.isdecimal():
        return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "big") or 1
    return number_from(1, (1 << 64) - 1)(value)


def _address(value: object) -> str:
    expected = "an address like tcp://HOST:PORT"
    if not isinstance(value, str):
        raise ValueError(expected)
    try:
        parse_bind_address(value)
    except BadAddress as error:
        raise ValueError(f"{expected} ({error})") from None
    return value


def parse_address_or_nothing(value: object) -> str:
    return "" if value == "" else _address(value)


def _connect_address(value: object) -> str:
    """Unlike one to bind, it must name a host and a port."""
    address = _address(value)
    try:
        parse_connect_address(address)
    except BadAddress as error:
        raise ValueError(f"an address to connect to ({error})") from None
    return address


def parse_join(value: object) -> tuple[str, ...]:
    """A text with commas, or a list of such texts; every address once, in this order."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError("addresses like tcp://HOST:PORT")
    parts = [part.strip() for text in texts for part in text.split(",")]
    found = tuple(dict.fromkeys(_connect_address(part) for part in parts if part))
    if len(found) > MEMBERS_MAX:
        raise ValueError(f"at most {MEMBERS_MAX} addresses")
    return found


def parse_dial(value: object) -> tuple[tuple[int, str], ...]:
    texts = value.split() if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or len(texts) > MEMBERS_MAX:
        raise ValueError(f"a list of at most {MEMBERS_MAX} members and their addresses")
    return tuple(map(_dialled, texts))


def _dialled(value: object) -> tuple[int, str]:
    head, _, tail = value.partition("=") if isinstance(value, str) else ("", "", "")
    try:
        return number_from(1, NODE_ID_MAX)(head.strip()), _connect_address(tail.strip())
    except ValueError as error:
        raise ValueError(f'members written "ID=ADDRESS"; in {value!r}: {error}') from None


def _member(value: object) -> Member:
    expected = 'members written "ID=PEER,CLIENT,STATUS,SNAPSHOT" (four addresses), then ",ROLE"'
    head, separator, tail = value.partition("=") if isinstance(value, str) else ("", "", "")
    parts = [part.strip() for part in tail.split(",")]
    if not separator or len(parts) not in (4, 5):
        raise ValueError(expected)
    try:
        number = number_from(1, NODE_ID_MAX)(head.strip())
        role = choice_of(*Role)(parts[4]) if len(parts) == 5 else Role.VOTER.value
        peer, client, status, snapshot = map(_address, parts[:4])
        return Member(number, peer, client, status, snapshot, role)
    except ValueError as error:
        raise ValueError(f"{expected}; in {value!r}: {error}") from None


def parse_members(value: object) -> tuple[Member, ...]:
    texts = value.replace(";", " ").split() if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or len(texts) > MEMBERS_MAX:
        raise ValueError(f"a list of at most {MEMBERS_MAX} members")
    members = tuple(sorted(map(_member, texts), key=lambda member: member.node_id))
    if len({member.node_id for member in members}) != len(members):
        raise ValueError("members with different ids")
    used = [address for member in members for address in member.addresses]
    twice = sorted({address for address in used if used.count(address) > 1})
    if twice:
        raise ValueError(f"every address once; {twice[0]} is there twice")
    return members
