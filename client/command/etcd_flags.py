"""etcd's own flags and ETCD_* variables: which are known, how they are written, what each is here.

Reading order 9 of the commands, below etcd.py. Go's way of writing flags: one dash or two, `=` or a
space, a flag alone is true. What is set on the command line wins over the environment, as in etcd.
Nothing of the node is known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

ENVIRONMENT = "ETCD_"
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")

# Taken into account, with etcd's defaults. "" where the default depends on another flag.
USED: Mapping[str, str] = {
    "name": "default",
    "data-dir": "",
    "listen-client-urls": "http://localhost:2379",
    "advertise-client-urls": "http://localhost:2379",
    "listen-peer-urls": "http://localhost:2380",
    "initial-advertise-peer-urls": "http://localhost:2380",
    "initial-cluster": "",
    "initial-cluster-token": "etcd-cluster",
    "initial-cluster-state": "new",
    "listen-metrics-urls": "",
    "snapshot-count": "100000",
    "quota-backend-bytes": "0",
    "heartbeat-interval": "100",
    "election-timeout": "1000",
    "auto-compaction-mode": "periodic",
    "auto-compaction-retention": "0",
    "auth-token": "simple",
    "cert-file": "",
    "key-file": "",
    "trusted-ca-file": "",
    "log-level": "info",
}
USED_SWITCHES = ("client-cert-auth", "unsafe-no-fsync")
# What etcd does with them is settled here in another way: taken, and said so.
WITHOUT_EFFECT = (
    *("wal-dir", "max-snapshots", "max-wals", "backend-bbolt-freelist-type"),
    *("backend-batch-interval", "backend-batch-limit", "max-txn-ops", "max-request-bytes"),
    *("grpc-keepalive-min-time", "grpc-keepalive-interval", "grpc-keepalive-timeout"),
    *("logger", "log-outputs", "metrics", "cors", "host-whitelist", "v2-deprecation"),
    *("bcrypt-cost", "auth-token-ttl", "max-concurrent-streams", "cipher-suites"),
    *("discovery-fallback", "tls-min-version", "tls-max-version", "listen-client-http-urls"),
)
SWITCHES_WITHOUT_EFFECT = (
    *("pre-vote", "strict-reconfig-check", "initial-election-tick-advance", "enable-pprof"),
    *("socket-reuse-port", "socket-reuse-address", "debug", "enable-grpc-gateway"),
    *("experimental-initial-corrupt-check", "experimental-watch-progress-notify-interval"),
)
_PEER_KEYS = "traffic between nodes is encrypted with METASTORE_KEY_FILE and METASTORE_ACCESS_FILE"
# Known to etcd, and refused: whoever gives them would not get what they mean.
REFUSED: Mapping[str, str] = {
    "config-file": "give the settings as flags or ETCD_ variables",
    "discovery": "give --initial-cluster",
    "discovery-srv": "give --initial-cluster",
    "discovery-proxy": "give --initial-cluster",
    "force-new-cluster": "run `metastore recover` on the data directory",
    "peer-cert-file": _PEER_KEYS,
    "peer-key-file": _PEER_KEYS,
    "peer-trusted-ca-file": _PEER_KEYS,
    "peer-client-cert-auth": _PEER_KEYS,
    "peer-auto-tls": _PEER_KEYS,
    "auto-tls": "give --cert-file and --key-file",
    "client-crl-file": "revoked certificates are not looked up; change --trusted-ca-file",
    "client-cert-allowed-hostname": "any certificate of --trusted-ca-file is let in",
    "enable-v2": "there is no v2 API",
}


@dataclass(slots=True)
class EtcdFlags:
    """The values by flag name, and what a person should hear about them."""

    values: dict[str, str] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def is_on(self, name: str) -> bool:
        return self.values[name] == "true"


def read_flags(arguments: Sequence[str], environ: Mapping[str, str]) -> EtcdFlags:
    """Raises click.UsageError for what etcd would not take either, or what means something that is
    not to be had here."""
    flags = EtcdFlags(dict(USED) | dict.fromkeys(USED_SWITCHES, "false"))
    known = {f"{ENVIRONMENT}{name.upper().replace('-', '_')}": name for name in _all_names()}
    for variable, value in sorted(environ.items()):
        if variable in known:
            _take(flags, known[variable], value, variable)
        elif variable.startswith(ENVIRONMENT) and variable != "ETCD_UNSUPPORTED_ARCH":
            flags.remarks.append(f"{variable} is no variable of etcd's and has no effect")
    for name, value in _split(arguments):
        _take(flags, name, value, f"--{name}")
    return flags


def _all_names() -> Sequence[str]:
    return (*USED, *USED_SWITCHES, *WITHOUT_EFFECT, *SWITCHES_WITHOUT_EFFECT, *REFUSED)


def _split(arguments: Sequence[str]) -> Sequence[tuple[str, str]]:
    """(name, value) in order; a switch without a value is "true"."""
    found: list[tuple[str, str]] = []
    rest = list(arguments)
    while rest:
        written = rest.pop(0)
        name, equals, value = written.lstrip("-").partition("=")
        if not written.startswith("-") or not name:
            raise click.UsageError(f"{written!r} is not a valid flag")
        if name not in _all_names():
            raise click.UsageError(f"--{name} is no flag of etcd's that is known here")
        if not equals and _is_switch(name):
            value = "true"
        elif not equals:
            if not rest:
                raise click.UsageError(f"--{name} needs a value")
            value = rest.pop(0)
        found.append((name, value))
    return found


def _is_switch(name: str) -> bool:
    switches = (*USED_SWITCHES, *SWITCHES_WITHOUT_EFFECT)
    refused = ("force-new-cluster", "peer-client-cert-auth", "peer-auto-tls", "auto-tls")
    return name in (*switches, *refused, "enable-v2")


def _take(flags: EtcdFlags, name: str, value: str, source: str) -> None:
    if _is_switch(name):
        value = _to_switch(value, source)
    if name in REFUSED:
        if value not in ("", "false"):
            raise click.UsageError(f"{source}: {REFUSED[name]}")
    elif name in USED or name in USED_SWITCHES:
        flags.values[name] = value
        flags.given.add(name)
    else:
        flags.remarks.append(f"{source} has no effect here")


def _to_switch(value: str, source: str) -> str:
    if value.lower() in _TRUE:
        return "true"
    if value.lower() in _FALSE:
        return "false"
    raise click.UsageError(f"{source}: {value!r} is neither true nor false")
