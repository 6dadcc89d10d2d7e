"""The values of settings: how each kind is read from a file, a variable or a flag.

Below settings.py. A parser takes text or a value of TOML and raises ValueError that says what is
expected; it knows neither the setting's name nor where the value came from.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metastore.transport.addresses import parse_bind_address
from metastore.transport.errors import BadAddress

NODE_ID_MAX = (1 << 64) - 3  # above: the core's ids for its storage threads
MEMBERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Member:
    """One voter of the first configuration and where the others reach it."""

    node_id: int
    peer: str
    client: str
    status: str
    snapshot: str

    def __str__(self) -> str:
        return f"{self.node_id}={self.peer},{self.client},{self.status},{self.snapshot}"


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


def _member(value: object) -> Member:
    expected = 'members written "ID=PEER,CLIENT,STATUS,SNAPSHOT" (four addresses)'
    head, separator, tail = value.partition("=") if isinstance(value, str) else ("", "", "")
    addresses = [part.strip() for part in tail.split(",")]
    if not separator or len(addresses) != 4:
        raise ValueError(expected)
    try:
        return Member(number_from(1, NODE_ID_MAX)(head.strip()), *map(_address, addresses))
    except ValueError as error:
        raise ValueError(f"{expected}; in {value!r}: {error}") from None


def parse_members(value: object) -> tuple[Member, ...]:
    texts = value.replace(";", " ").split() if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or len(texts) > MEMBERS_MAX:
        raise ValueError(f"a list of at most {MEMBERS_MAX} members")
    members = tuple(sorted(map(_member, texts), key=lambda member: member.node_id))
    if len({member.node_id for member in members}) != len(members):
        raise ValueError("members with different ids")
    used = [address for m in members for address in (m.peer, m.client, m.status, m.snapshot)]
    twice = sorted({address for address in used if used.count(address) > 1})
    if twice:
        raise ValueError(f"every address once; {twice[0]} is there twice")
    return members
