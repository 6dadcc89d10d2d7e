"""Every setting of a node, once: name, type, default, help, and what goes wrong when it is mis-set.

The command line's help, the environment names, the file keys and docs/guide/settings.md are all
made from this schema. Reading the sources is settings_sources.py; this module opens no file.
"""

import hashlib
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from metastore.transport.addresses import parse_bind_address
from metastore.transport.errors import BadAddress

NODE_ID_MAX = (1 << 64) - 3  # above: the core's ids for its storage threads
MEMBERS_MAX = 64
# The election timeout must outlive several lost heartbeats, or one delayed packet costs a leader.
HEARTBEATS_PER_ELECTION_MIN = 5


class SettingsInvalid(Exception):
    """A setting cannot be used; says which source, key and value, and what is expected there."""

    def __init__(self, source: str, key: str, value: object, expected: str) -> None:
        super().__init__(f"{source}: {key} = {value!r}: expected {expected}")
        self.source, self.key, self.value, self.expected = source, key, value, expected


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


def _number(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if type(number) is not int or not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def _choice(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError("one of " + ", ".join(words))
        return value

    return parse


def _flag(value: object) -> bool:
    chosen = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(chosen, bool):
        raise ValueError("true or false")
    return chosen


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("a path")
    return Path(value)


def parse_cluster_id(value: object) -> int:
    """A number from 1 to 2^64-1 as it is; any other name by its hash. Raises ValueError."""
    if isinstance(value, str) and value and not value.isdecimal():
        return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "big") or 1
    return _number(1, (1 << 64) - 1)(value)


def _address(value: object) -> str:
    expected = "an address like tcp://HOST:PORT"
    if not isinstance(value, str):
        raise ValueError(expected)
    try:
        parse_bind_address(value)
    except BadAddress as error:
        raise ValueError(f"{expected} ({error})") from None
    return value


def _address_or_nothing(value: object) -> str:
    return "" if value == "" else _address(value)


def _member(value: object) -> Member:
    expected = 'members written "ID=PEER,CLIENT,STATUS,SNAPSHOT" (four addresses)'
    head, separator, tail = value.partition("=") if isinstance(value, str) else ("", "", "")
    addresses = [part.strip() for part in tail.split(",")]
    if not separator or len(addresses) != 4:
        raise ValueError(expected)
    try:
        return Member(_number(1, NODE_ID_MAX)(head.strip()), *map(_address, addresses))
    except ValueError as error:
        raise ValueError(f"{expected}; in {value!r}: {error}") from None


def _members(value: object) -> tuple[Member, ...]:
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


def _setting(parse: Callable[[object], Any], help: str, wrong: str, default: Any = MISSING) -> Any:
    metadata = {"parse": parse, "help": help, "wrong": wrong}
    return field(default=default, metadata=metadata)


_BIND = "Default: this node's own address in `members`, else 127.0.0.1 and port "
_BIND_WRONG = (
    "A taken port stops the start with the address; one out of reach looks like a dead node."
)
_ADVERTISE = "The address that others are told, when it is not the one bound (NAT, 0.0.0.0)."
_ADVERTISE_WRONG = "A wrong one: the node hears nobody, though it looks healthy by itself."


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one node, checked; times in milliseconds, sizes in bytes."""

    node_id: int = _setting(
        _number(1, NODE_ID_MAX),
        "This node's number, unique in the cluster, never used again once removed.",
        "Two nodes with one number vote twice; the data directory remembers its own.",
    )
    data_dir: Path = _setting(  # noqa: RUF009 - returns a field
        _path,
        "Directory of everything this node must not forget. Created when missing.",
        "An emptied or restored directory forgets votes; a shared one is refused by its lock.",
    )
    cluster_id: int = _setting(
        parse_cluster_id,
        "Name (or number) of the cluster, the same on every node.",
        "Nodes of different clusters refuse each other; a data directory refuses another cluster.",
        parse_cluster_id("metastore"),
    )
    engine: str = _setting(
        _choice("memory", "rocksdb"),
        "The embedded store: `memory` (write-ahead log and snapshots) or `rocksdb`.",
        "A data directory of another engine is refused; `memory` needs all data in memory.",
        "memory",
    )
    members: tuple[Member, ...] = _setting(
        _members,
        "The voters at the first start, each `ID=PEER,CLIENT,STATUS,SNAPSHOT` (four addresses), "
        "the same on every node. Empty: a cluster of this node alone. Flag: `--member`, repeated.",
        "Different lists on different nodes make two clusters that both think they are complete.",
        (),
    )
    peer_bind: str = _setting(
        _address_or_nothing,
        f"Where other nodes reach this one. {_BIND}7001.",
        _BIND_WRONG,
        "",
    )
    client_bind: str = _setting(
        _address_or_nothing, f"Where clients reach it. {_BIND}7002.", _BIND_WRONG, ""
    )
    status_bind: str = _setting(
        _address_or_nothing, f"The status socket. {_BIND}7003.", _BIND_WRONG, ""
    )
    snapshot_bind: str = _setting(
        _address_or_nothing, f"Where it receives snapshots. {_BIND}7004.", _BIND_WRONG, ""
    )
    peer_advertise: str = _setting(_address_or_nothing, _ADVERTISE, _ADVERTISE_WRONG, "")
    client_advertise: str = _setting(_address_or_nothing, _ADVERTISE, _ADVERTISE_WRONG, "")
    insecure: bool = _setting(
        _flag,
        "Allows addresses that other machines can reach, although nothing is encrypted.",
        "True on an open network: anybody there may read, write and vote.",
        False,
    )
    heartbeat_ms: int = _setting(
        _number(1, 60_000),
        "How often a leader tells that it lives.",
        "Too short costs processor time; too long needs a longer election timeout.",
        100,
    )
    election_timeout_ms: int = _setting(
        _number(10, 600_000),
        "A node that hears no leader this long (up to twice) starts an election. "
        f"At least {HEARTBEATS_PER_ELECTION_MIN} heartbeats.",
        "Too short: elections under load. Too long: writes stand still that long after a crash.",
        1000,
    )
    tick_ms: int = _setting(
        _number(0, 60_000),
        "The step of the two times above; 0: one heartbeat. Not longer than a heartbeat.",
        "Smaller spreads elections finer and wakes the idle node more often.",
        0,
    )
    sync: str = _setting(
        _choice("always", "interval", "never"),
        "When the log is made durable: before every acknowledgement, every `sync_interval_ms`, or "
        "when the system likes.",
        "`interval` and `never` can lose acknowledged writes when a majority loses power.",
        "always",
    )
    sync_interval_ms: int = _setting(
        _number(1, 60_000),
        "Used with `sync = interval` only.",
        "The longer, the more acknowledged writes a power loss takes.",
        100,
    )
    snapshot_entries: int = _setting(
        _number(100, 1_000_000_000),
        "Log entries since the last snapshot that start a new one.",
        "Too small: the disk is busy with snapshots. Too large: long restarts, much memory.",
        100_000,
    )
    snapshot_bytes: int = _setting(
        _number(1 << 16, 1 << 46),
        "Log bytes since the last snapshot that start a new one, whichever comes first.",
        "As `snapshot_entries`.",
        256 << 20,
    )
    snapshot_trailing_entries: int = _setting(
        _number(0, 1_000_000_000),
        "Entries kept in the log below a snapshot, for followers that are only a little behind.",
        "Too small: a follower that paused briefly needs a whole snapshot. Too large: memory.",
        5_000,
    )
    log_level: str = _setting(
        _choice("debug", "info", "warning", "error"),
        "The least important events that are logged.",
        "`debug` logs every dropped message; `error` hides elections.",
        "info",
    )
    log_format: str = _setting(
        _choice("console", "json"),
        "Lines for people or one JSON object a line, on standard error.",
        "A log collector that expects JSON drops console lines.",
        "console",
    )

    @property
    def heartbeat_ticks(self) -> int:
        return max(1, self.heartbeat_ms // self.tick_ms)

    @property
    def election_timeout_ticks(self) -> int:
        return -(-self.election_timeout_ms // self.tick_ms)


def schema() -> tuple[Field[Any], ...]:
    return fields(Settings)
