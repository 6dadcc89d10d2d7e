"""Every setting of a node, once: name, type, default, help, and what goes wrong when it is mis-set.

The command line's help, the environment names, the file keys and docs/guide/settings.md are all
made from this schema. Reading the sources is settings_sources.py; this module opens no file.
"""

from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from metastore.node.setting import setting as _setting
from metastore.node.settings_gateway import EtcdSettings
from metastore.node.settings_values import (
    NODE_ID_MAX,
    choice_of,
    number_from,
    parse_address_or_nothing,
    parse_dial,
    parse_flag,
    parse_join,
    parse_members,
    parse_name,
    parse_path,
    parse_path_or_nothing,
)
from metastore.node.settings_values import Member as Member
from metastore.node.settings_values import parse_cluster_id as parse_cluster_id
from metastore.transport.limits import CONNECTIONS_MAX
from metastore.transport.member_ops import Role

# The election timeout must outlive several lost heartbeats, or one delayed packet costs a leader.
HEARTBEATS_PER_ELECTION_MIN = 5


class SettingsInvalid(Exception):
    """A setting cannot be used; says which source, key and value, and what is expected there."""

    def __init__(self, source: str, key: str, value: object, expected: str) -> None:
        super().__init__(f"{source}: {key} = {value!r}: expected {expected}")
        self.source, self.key, self.value, self.expected = source, key, value, expected


_BIND = "Default: this node's own address in `members`, else 127.0.0.1 and port "
_BIND_WRONG = (
    "A taken port stops the start with the address; one out of reach looks like a dead node."
)
_ADVERTISE = "The address that others are told. Default: that in `members`, else the one bound."
_ADVERTISE_WRONG = "A wrong one: the node hears nobody, though it looks healthy by itself."


@dataclass(frozen=True, kw_only=True)
class Settings(EtcdSettings):
    """The settings of one node, checked; times in milliseconds, sizes in bytes."""

    node_id: int = _setting(
        number_from(1, NODE_ID_MAX),
        "This node's number, unique in the cluster, never used again once removed.",
        "Two nodes with one number vote twice; the data directory remembers its own.",
    )
    name: str = _setting(
        parse_name,
        "What people call this node: shown by `metastore member list` and to clients of etcd.",
        "Two nodes of one name: only people confuse them.",
        "",
    )
    data_dir: Path = _setting(  # noqa: RUF009 - returns a field
        parse_path,
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
        choice_of("memory", "rocksdb"),
        "The embedded store: `memory` (write-ahead log and snapshots) or `rocksdb`.",
        "A data directory of another engine is refused; `memory` needs all data in memory.",
        "memory",
    )
    members: tuple[Member, ...] = _setting(
        parse_members,
        "The members at the first start, each `ID=PEER,CLIENT,STATUS,SNAPSHOT` (four addresses) "
        "and `,ROLE` unless it is a voter, the same on every node. Empty: a cluster of this node "
        "alone. Afterwards the cluster keeps the list itself, and these are only places where a "
        "member may be found. Flag: `--member`, repeated.",
        "Different lists on different nodes make two clusters that both think they are complete.",
        (),
        item="ID=ADDRESSES",
    )
    join: tuple[str, ...] = _setting(
        parse_join,
        "First start only: the clients' addresses of nodes of the cluster to join, with commas or "
        "`--join` repeated; later: where else to look for it. Without it a first start founds a "
        "cluster.",
        "Nobody there: the node waits and says so. Left out: it founds a cluster of its own.",
        (),
        item="ADDRESS",
    )
    role: str = _setting(
        choice_of(*Role),
        "What this node shall be when it joins or is founded: `voter`, `learner` (gets everything, "
        "votes never) or `witness` (votes, holds no data). Afterwards `metastore member` changes "
        "it.",
        "A learner or witness counts for nothing when data are counted: with too few voters, the "
        "loss of one stops the cluster.",
        Role.VOTER.value,
    )
    peer_bind: str = _setting(
        parse_address_or_nothing,
        f"Where other nodes reach this one. {_BIND}7001.",
        _BIND_WRONG,
        "",
    )
    client_bind: str = _setting(
        parse_address_or_nothing, f"Where clients reach it. {_BIND}7002.", _BIND_WRONG, ""
    )
    status_bind: str = _setting(
        parse_address_or_nothing, f"The status socket. {_BIND}7003.", _BIND_WRONG, ""
    )
    snapshot_bind: str = _setting(
        parse_address_or_nothing, f"Where it receives snapshots. {_BIND}7004.", _BIND_WRONG, ""
    )
    peer_advertise: str = _setting(parse_address_or_nothing, _ADVERTISE, _ADVERTISE_WRONG, "")
    client_advertise: str = _setting(parse_address_or_nothing, _ADVERTISE, _ADVERTISE_WRONG, "")
    status_advertise: str = _setting(parse_address_or_nothing, _ADVERTISE, _ADVERTISE_WRONG, "")
    snapshot_advertise: str = _setting(parse_address_or_nothing, _ADVERTISE, _ADVERTISE_WRONG, "")
    dial: tuple[tuple[int, str], ...] = _setting(
        parse_dial,
        "Members whose peer socket this node reaches at a place of its own and nowhere else (a "
        "tunnel), each `ID=ADDRESS`. Flag: `--dial`, repeated.",
        "A wrong one: this node cannot talk to that member, though others can.",
        (),
        item="ID=ADDRESS",
    )
    key_file: Path | None = _setting(  # noqa: RUF009 - returns a field
        parse_path_or_nothing,
        "File with this node's key pair (`metastore keygen`): everything is encrypted, and who may "
        "come stands in `access_file`. Empty: nothing is encrypted.",
        "A file that others may read, or no key pair, stops the start.",
        None,
    )
    access_file: Path | None = _setting(  # noqa: RUF009 - returns a field
        parse_path_or_nothing,
        "File with the public keys of the nodes and of the clients, and what each client may do; "
        "read again when it changes. Only together with `key_file`.",
        "A node whose key is missing in it is refused by the others.",
        None,
    )
    insecure: bool = _setting(
        parse_flag,
        "Without `key_file`: allows addresses that other machines can reach, although nothing is "
        "encrypted.",
        "True on an open network: anybody there may read, write and vote.",
        False,
    )
    connections_max: int = _setting(
        number_from(1, 1_000_000),
        "How many clients this node serves at once; one more is refused and told so.",
        "Too small: clients are turned away. Too large: no descriptors or memory left.",
        CONNECTIONS_MAX,
    )
    heartbeat_ms: int = _setting(
        number_from(1, 60_000),
        "How often a leader tells that it lives.",
        "Too short costs processor time; too long needs a longer election timeout.",
        100,
    )
    election_timeout_ms: int = _setting(
        number_from(10, 600_000),
        "A node that hears no leader this long (up to twice) starts an election. "
        f"At least {HEARTBEATS_PER_ELECTION_MIN} heartbeats.",
        "Too short: elections under load. Too long: writes stand still that long after a crash.",
        1000,
    )
    tick_ms: int = _setting(
        number_from(0, 60_000),
        "The step of the two times above; 0: one heartbeat. Not longer than a heartbeat.",
        "Smaller spreads elections finer and wakes the idle node more often.",
        0,
    )
    sync: str = _setting(
        choice_of("always", "interval", "never"),
        "When the log is made durable: before every acknowledgement, every `sync_interval_ms`, or "
        "when the system likes.",
        "`interval` and `never` can lose acknowledged writes when a majority loses power.",
        "always",
    )
    sync_interval_ms: int = _setting(
        number_from(1, 60_000),
        "Used with `sync = interval` only.",
        "The longer, the more acknowledged writes a power loss takes.",
        100,
    )
    snapshot_entries: int = _setting(
        number_from(100, 1_000_000_000),
        "Log entries since the last snapshot that start a new one.",
        "Too small: the disk is busy with snapshots. Too large: long restarts, much memory.",
        100_000,
    )
    snapshot_bytes: int = _setting(
        number_from(1 << 16, 1 << 46),
        "Log bytes since the last snapshot that start a new one, whichever comes first.",
        "As `snapshot_entries`.",
        64 << 20,
    )
    snapshot_trailing_entries: int = _setting(
        number_from(0, 1_000_000_000),
        "Entries kept in the log below a snapshot, for followers that are only a little behind; "
        "fewer if they are more than a quarter of `snapshot_bytes`.",
        "Too small: a follower that paused briefly needs a whole snapshot. Too large: memory.",
        5_000,
    )
    quota_bytes: int = _setting(
        number_from(0, 1 << 50),
        "Size of the store (keys, values and their old versions) above which writes that add "
        "something are refused until it is below 90 % of this again; 0: no limit.",
        "Too small: `database space exceeded` although there is room. Too large: no memory or "
        "disk left, which stops the node. The leader's value counts.",
        2 << 30,
    )
    auto_compact_revisions: int = _setting(
        number_from(0, 1 << 50),
        "How many revisions of history are kept at least: when there are twice as many, the leader "
        "compacts down to this; 0: only clients compact. The leader's value counts.",
        "Too small: watches and reads of the past get `compacted` after a short absence. Too large "
        "or 0: every old version stays, until the quota is reached.",
        100_000,
    )
    rocksdb_driver: str = _setting(
        choice_of("rocksdict", "rocksdb"),
        "The Python binding through which the `rocksdb` engine reaches RocksDB.",
        "One that is not installed stops the start and says how to install it.",
        "rocksdict",
    )
    rocksdb_cache_bytes: int = _setting(
        number_from(1 << 20, 1 << 46),
        "Memory of the `rocksdb` engine for blocks that were read.",
        "Too small: reads wait for the disk. Too large: the system runs out of memory.",
        64 << 20,
    )
    rocksdb_write_buffer_bytes: int = _setting(
        number_from(1 << 16, 1 << 40),
        "Memory of the `rocksdb` engine for what was written last, per kind of data.",
        "Too small: many small files, which are merged again and again. Too large: memory.",
        16 << 20,
    )
    log_level: str = _setting(
        choice_of("debug", "info", "warning", "error"),
        "The least important events that are logged.",
        "`debug` logs every dropped message; `error` hides elections.",
        "info",
    )
    log_format: str = _setting(
        choice_of("console", "json"),
        "Lines for people or one JSON object a line, on standard error.",
        "A log collector that expects JSON drops console lines.",
        "console",
    )

    @property
    def founders(self) -> tuple[Member, ...]:
        """Of a new cluster; nobody where this node is to join one."""
        return () if self.join else self.members

    @property
    def own_member(self) -> Member:
        """This node as it tells the others of itself; once settings_checks has filled it in."""
        addresses = (
            self.peer_advertise,
            self.client_advertise,
            self.status_advertise,
            self.snapshot_advertise,
        )
        return Member(self.node_id, *addresses, role=self.role)

    @property
    def heartbeat_ticks(self) -> int:
        return max(1, self.heartbeat_ms // self.tick_ms)

    @property
    def election_timeout_ticks(self) -> int:
        return -(-self.election_timeout_ms // self.tick_ms)


def schema() -> tuple[Field[Any], ...]:
    """In the order of the page: the node's own first, the gateway's after them."""
    of_gateway = {entry.name for entry in fields(EtcdSettings)}
    return tuple(sorted(fields(Settings), key=lambda entry: entry.name in of_gateway))
