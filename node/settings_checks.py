"""What must hold between settings, and the defaults that one setting takes from another.

Stands between settings.py (single values) and settings_sources.py (where values come from). Pure.
"""

import ipaddress
from dataclasses import replace
from typing import Any, TypeAlias

from metastore.node.settings import (
    HEARTBEATS_PER_ELECTION_MIN,
    Member,
    Settings,
    SettingsInvalid,
)
from metastore.transport.addresses import parse_bind_address, parse_connect_address
from metastore.transport.errors import BadAddress

Origins: TypeAlias = dict[str, str]
"""Key -> the source it came from, for the messages; keys not there have their default."""

_PORTS = {"peer": 7001, "client": 7002, "status": 7003, "snapshot": 7004}


def complete(settings: Settings, origins: Origins) -> Settings:
    """Fills what depends on other settings, then checks all of it. Raises SettingsInvalid."""
    _check_times(settings, origins)
    settings = replace(settings, tick_ms=settings.tick_ms or settings.heartbeat_ms)
    own = next((m for m in settings.members if m.node_id == settings.node_id), None)
    if settings.members and own is None:
        listed = ", ".join(str(member.node_id) for member in settings.members)
        raise _invalid(origins, "node_id", settings.node_id, f"one of the members ({listed})")
    settings = _with_binds(settings, own)
    settings = _with_own_member(settings, own)
    _check_addresses(settings, origins)
    return settings


def _invalid(origins: Origins, key: str, value: object, expected: str) -> SettingsInvalid:
    return SettingsInvalid(origins.get(key, "default"), key, value, expected)


def _check_times(settings: Settings, origins: Origins) -> None:
    least = HEARTBEATS_PER_ELECTION_MIN * settings.heartbeat_ms
    if settings.election_timeout_ms < least:
        raise _invalid(
            origins,
            "election_timeout_ms",
            settings.election_timeout_ms,
            f"at least {HEARTBEATS_PER_ELECTION_MIN} * heartbeat_ms = {least}",
        )
    if settings.tick_ms > settings.heartbeat_ms:
        raise _invalid(
            origins, "tick_ms", settings.tick_ms, f"at most heartbeat_ms = {settings.heartbeat_ms}"
        )


def _with_binds(settings: Settings, own: Member | None) -> Settings:
    found: dict[str, Any] = {}
    for name, port in _PORTS.items():
        default = getattr(own, name) if own else f"tcp://127.0.0.1:{port}"
        found[f"{name}_bind"] = getattr(settings, f"{name}_bind") or default
    return replace(settings, **found)


def _with_own_member(settings: Settings, own: Member | None) -> Settings:
    base = own or Member(
        settings.node_id,
        settings.peer_bind,
        settings.client_bind,
        settings.status_bind,
        settings.snapshot_bind,
    )
    advertised = replace(
        base,
        peer=settings.peer_advertise or base.peer,
        client=settings.client_advertise or base.client,
    )
    others = [member for member in settings.members if member.node_id != settings.node_id]
    members = sorted([*others, advertised], key=lambda member: member.node_id)
    return replace(
        settings,
        members=tuple(members),
        peer_advertise=advertised.peer,
        client_advertise=advertised.client,
    )


def _check_addresses(settings: Settings, origins: Origins) -> None:
    binds = {f"{name}_bind": getattr(settings, f"{name}_bind") for name in _PORTS}
    for key, address in binds.items():
        any_port = parse_bind_address(address).port == 0
        if not any_port and list(binds.values()).count(address) > 1:
            raise _invalid(origins, key, address, "a different address for each of the sockets")
        if not settings.insecure and not is_loopback(address):
            raise _invalid(
                origins,
                key,
                address,
                "a loopback address, or insecure = true (nothing is encrypted)",
            )
    for member in settings.members:
        # Port 0 or a wildcard can be bound but not reached: the cluster would wait for it forever.
        for address in (member.peer, member.client, member.status, member.snapshot):
            if len(settings.members) > 1 and not _is_reachable(address):
                raise _invalid(
                    origins,
                    "members",
                    str(member),
                    "addresses with a host and a port to connect to",
                )


def is_loopback(address: str) -> bool:
    host = parse_bind_address(address).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_reachable(address: str) -> bool:
    try:
        host = parse_connect_address(address).host
    except BadAddress:
        return False
    try:
        return not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return True
