"""etcd's flags as the settings of a node and its gateway.

Reading order 9 of the commands, between etcd.py and etcd_flags.py. Pure: opens nothing, asks
nobody. What two nodes must agree on follows from what etcd makes them agree on, `--initial-cluster`
and its token: the id of a member from its peer URL, and its other three sockets from the port of
that URL, at fixed distances.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from metastore.client.command.etcd_flags import EtcdFlags
from metastore.client.etcd_places import DISTANCES as DISTANCES
from metastore.client.etcd_places import Place as Place

_DEFAULT_QUOTA_BYTES = 2 << 30  # of both
KEPT_REVISIONS = 100_000  # the node's own default
_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one member: everybody's places by name, and its own."""

    name: str
    token: str
    members: Mapping[str, Place]
    own: Place
    listen: Place
    is_new: bool

    @property
    def others(self) -> Sequence[Place]:
        return [place for name, place in self.members.items() if name != self.name]

    def node_id(self, name: str) -> int:
        """Of a founder: above 2^53 and below 2^63, as random as etcd's."""
        place = self.members[name]
        text = f"{self.token}/{name}/{place.host}:{place.port}"
        drawn = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
        return drawn >> 2 | 1 << 61

    @property
    def cluster_name(self) -> str:
        ids = sorted(self.node_id(name) for name in self.members)
        return f"{self.token}/{'/'.join(map(str, ids))}"


def plan_of(flags: EtcdFlags) -> Plan:
    """Raises click.UsageError."""
    name = flags["name"]
    advertised = _places("initial-advertise-peer-urls", flags)
    text = flags["initial-cluster"] or f"{name}={flags['initial-advertise-peer-urls']}"
    members = _parse_cluster(text, flags)
    if name not in members:
        raise click.UsageError(f"--initial-cluster has no member of this node's --name, {name!r}")
    if members[name] not in advertised:
        raise click.UsageError(
            f"--initial-cluster has {name}=http://{members[name].host}:{members[name].port}, but "
            "that is missing from --initial-advertise-peer-urls"
        )
    state = flags["initial-cluster-state"]
    if state not in ("new", "existing"):
        raise click.UsageError(f"--initial-cluster-state {state!r}: expected new or existing")
    listen = _places("listen-peer-urls", flags)[0]
    token = flags["initial-cluster-token"]
    return Plan(name, token, members, members[name], listen, state == "new")


def _parse_cluster(text: str, flags: EtcdFlags) -> dict[str, Place]:
    members: dict[str, Place] = {}
    for part in text.split(","):
        name, equals, url = part.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--initial-cluster {part!r}: expected NAME=URL")
        place = _place("initial-cluster", url)
        if name in members:
            flags.remarks.append(f"{name} has several peer URLs; only the first one is used")
        members.setdefault(name, place)
    return members


def _places(flag: str, flags: EtcdFlags) -> Sequence[Place]:
    return [_place(flag, url) for url in flags[flag].split(",")]


def _place(flag: str, url: str) -> Place:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme == "https":
        raise click.UsageError(
            f"--{flag} {url}: nodes speak no TLS with each other; give http, and for encryption "
            "METASTORE_KEY_FILE and METASTORE_ACCESS_FILE"
        )
    if parts.scheme != "http" or not host or not port:
        raise click.UsageError(f"--{flag} {url!r}: expected http://HOST:PORT")
    return Place(host, port)


def node_arguments(
    flags: EtcdFlags, plan: Plan, node_id: int, cluster_id: int | str
) -> Sequence[str]:
    """What `metastore serve` is given. Raises click.UsageError."""
    arguments = ["--node-id", str(node_id), "--name", plan.name, "--data-dir", data_dir(flags)]
    arguments += ["--cluster-id", str(cluster_id)]
    for socket in DISTANCES:
        bind = Place(_bindable(plan.listen.host), plan.listen.port)
        arguments += [f"--{socket}-bind", bind.address(socket)]
        arguments += [f"--{socket}-advertise", plan.own.address(socket)]
    if plan.is_new:
        for name, place in plan.members.items():
            arguments += ["--member", f"{plan.node_id(name)}={','.join(place.addresses)}"]
    else:
        arguments += ["--join", ",".join(place.address("client") for place in plan.others)]
    return [*arguments, *_gateway_arguments(flags), *_limits(flags)]


def data_dir(flags: EtcdFlags) -> str:
    return flags["data-dir"] or str(Path(f"{flags['name']}.etcd"))


def _bindable(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def _gateway_arguments(flags: EtcdFlags) -> Sequence[str]:
    arguments: list[str] = []
    for flag, option in (
        ("listen-client-urls", "--etcd"),
        ("listen-metrics-urls", "--etcd-metrics"),
    ):
        for url in filter(None, flags[flag].split(",")):
            arguments += [option, url]
    arguments += ["--etcd-advertise", flags["advertise-client-urls"]]
    for flag, option in (
        ("cert-file", "--etcd-cert-file"),
        ("key-file", "--etcd-key-file"),
        ("trusted-ca-file", "--etcd-trusted-ca-file"),
    ):
        if flags[flag]:
            arguments += [option, flags[flag]]
    if flags.is_on("client-cert-auth"):
        arguments += ["--etcd-client-cert-auth", "true"]
    # A URL that says http means it, as with etcd.
    return [*arguments, "--etcd-auth-token", flags["auth-token"], "--insecure", "true"]


def _limits(flags: EtcdFlags) -> Sequence[str]:
    quota = _number(flags, "quota-backend-bytes") or _DEFAULT_QUOTA_BYTES
    return [
        *("--snapshot-entries", str(max(100, _number(flags, "snapshot-count")))),
        *("--quota-bytes", str(max(0, quota))),  # below 0: none, with both
        *("--heartbeat-ms", str(_number(flags, "heartbeat-interval"))),
        *("--election-timeout-ms", str(_number(flags, "election-timeout"))),
        *("--auto-compact-revisions", str(_kept_revisions(flags))),
        *("--sync", "never" if flags.is_on("unsafe-no-fsync") else "always"),
        *("--log-level", _LEVELS.get(flags["log-level"], "error")),
        *("--log-format", "json"),
    ]


def _kept_revisions(flags: EtcdFlags) -> int:
    retention = flags["auto-compaction-retention"]
    if retention in ("", "0"):
        return 0
    if flags["auto-compaction-mode"] == "revision":
        return _number(flags, "auto-compaction-retention")
    flags.remarks.append(
        f"--auto-compaction-retention {retention}: history is kept by revisions here, not by time: "
        f"the last {KEPT_REVISIONS}"
    )
    return KEPT_REVISIONS


def _number(flags: EtcdFlags, name: str) -> int:
    try:
        return int(flags[name])
    except ValueError:
        raise click.UsageError(f"--{name} {flags[name]!r}: expected a number") from None
