"""What must hold between settings, and the defaults that one setting takes from another.

Stands between settings.py (single values) and settings_sources.py (where values come from). Pure.
"""

import ipaddress
from dataclasses import replace
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from metastore.node.settings import (
    HEARTBEATS_PER_ELECTION_MIN,
    Member,
    Settings,
    SettingsInvalid,
)
from metastore.transport.addresses import Address, parse_bind_address, parse_connect_address
from metastore.transport.errors import BadAddress
from metastore.transport.member_ops import TEXT_CHARACTERS_MAX, Role
from metastore.transport.urls import parse_url, split_urls

Origins: TypeAlias = dict[str, str]
"""Key -> the source it came from, for the messages; keys not there have their default."""

_PORTS = {"peer": 7001, "client": 7002, "status": 7003, "snapshot": 7004}


def complete(settings: Settings, origins: Origins) -> Settings:
    """Fills what depends on other settings, then checks all of it. Raises SettingsInvalid."""
    _check_times(settings, origins)
    settings = replace(settings, tick_ms=settings.tick_ms or settings.heartbeat_ms)
    _check_keys(settings, origins)
    own = next((m for m in settings.members if m.node_id == settings.node_id), None)
    if settings.members and own is None and not settings.join:
        listed = ", ".join(str(member.node_id) for member in settings.members)
        raise _invalid(origins, "node_id", settings.node_id, f"one of the members ({listed})")
    settings = _with_role(settings, own, origins)
    settings = _with_binds(settings, own)
    settings = _with_own_member(settings, own)
    _check_binds(settings, origins)
    _check_reachable(settings, origins)
    _check_gateway(settings, origins)
    return _with_client_urls(settings, origins)


def _check_gateway(settings: Settings, origins: Origins) -> None:
    """What the gateway would refuse stops the start: nobody reads what a process beside one says
    again and again."""
    has_certificate = settings.etcd_cert_file and settings.etcd_key_file
    for key in ("etcd", "etcd_metrics"):
        for url in getattr(settings, key):
            parts = urlsplit(url)
            if parts.scheme == "https" and not has_certificate:
                raise _invalid(origins, key, url, "etcd_cert_file and etcd_key_file with https")
            is_local = is_loopback(f"tcp://{parts.netloc}")
            if parts.scheme == "http" and not settings.insecure and not is_local:
                expected = "https, or an address of this machine alone, or insecure = true"
                raise _invalid(origins, key, url, expected)
    if settings.etcd_client_cert_auth and settings.etcd_trusted_ca_file is None:
        expected = "false without etcd_trusted_ca_file"
        raise _invalid(origins, "etcd_client_cert_auth", True, expected)


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


def _check_keys(settings: Settings, origins: Origins) -> None:
    """Keys without a list of who may come would let nobody in, or everybody."""
    if settings.key_file is None and settings.access_file is not None:
        raise _invalid(origins, "key_file", "", "a key file, since access_file is set")
    if settings.access_file is None and settings.key_file is not None:
        raise _invalid(origins, "access_file", "", "an access file, since key_file is set")


def _with_role(settings: Settings, own: Member | None, origins: Origins) -> Settings:
    if own is not None:
        # The others found the cluster by their copy of the list: one's own word cannot change it.
        if "role" in origins and settings.role != own.role:
            raise _invalid(origins, "role", settings.role, f"{own.role}, as in members")
        settings = replace(settings, role=own.role)
    if settings.join:
        return settings
    roles = {member.role for member in settings.members} or {settings.role}
    if Role.VOTER not in roles:
        key, value = ("members", settings.members) if own else ("role", settings.role)
        expected = "at least one voter in a new cluster, or join = the address of one there is"
        raise _invalid(origins, key, value, expected)
    return settings


def _with_binds(settings: Settings, own: Member | None) -> Settings:
    found: dict[str, Any] = {}
    for name, port in _PORTS.items():
        default = getattr(own, name) if own else f"tcp://127.0.0.1:{port}"
        found[f"{name}_bind"] = getattr(settings, f"{name}_bind") or default
    return replace(settings, **found)


def _with_own_member(settings: Settings, own: Member | None) -> Settings:
    binds = {name: getattr(settings, f"{name}_bind") for name in _PORTS}
    base = own or Member(settings.node_id, **binds, role=settings.role)
    given = {name: getattr(settings, f"{name}_advertise") for name in _PORTS}
    advertised = replace(base, **{name: address for name, address in given.items() if address})
    others = [member for member in settings.members if member.node_id != settings.node_id]
    # As it was listed: every founder has to begin with the same list. What differs from it, the
    # node tells the cluster when it registers.
    members = sorted([*others, own or advertised], key=lambda member: member.node_id)
    told: dict[str, Any] = {f"{name}_advertise": getattr(advertised, name) for name in _PORTS}
    return replace(settings, members=tuple(members), **told)


def _with_client_urls(settings: Settings, origins: Origins) -> Settings:
    """Where clients of etcd come in, as the cluster is told; it refuses what is no such URL."""
    try:
        urls = settings.etcd_advertise
        if "etcd_advertise" not in origins:
            host = parse_bind_address(settings.client_advertise).host
            urls = tuple(_with_host(url, host) for url in settings.etcd)
        urls = tuple(split_urls(",".join(urls)))
    except BadAddress as error:
        key = "etcd_advertise" if "etcd_advertise" in origins else "etcd"
        raise _invalid(origins, key, getattr(settings, key), f"URLs ({error})") from None
    if len(",".join(urls)) > TEXT_CHARACTERS_MAX:
        expected = f"URLs of at most {TEXT_CHARACTERS_MAX} characters together"
        raise _invalid(origins, "etcd_advertise", urls, expected)
    return replace(settings, etcd_advertise=urls)


def _with_host(url: str, host: str) -> str:
    """`host` in place of every interface, which is no place to connect to."""
    found = parse_url(url)
    if not found.address.is_wildcard:
        return url
    return f"{found.scheme}://{str(Address(host, found.port)).removeprefix('tcp://')}"


def _check_binds(settings: Settings, origins: Origins) -> None:
    binds = {f"{name}_bind": getattr(settings, f"{name}_bind") for name in _PORTS}
    is_open = settings.insecure or settings.key_file is not None
    for key, address in binds.items():
        any_port = parse_bind_address(address).port == 0
        if not any_port and list(binds.values()).count(address) > 1:
            raise _invalid(origins, key, address, "a different address for each of the sockets")
        if not is_open and not is_loopback(address):
            raise _invalid(
                origins,
                key,
                address,
                "a loopback address, or key_file and access_file, or insecure = true (nothing is "
                "encrypted then)",
            )


def _check_reachable(settings: Settings, origins: Origins) -> None:
    """Port 0 or a wildcard can be bound but not reached: others would wait for it for ever. A node
    alone may leave a port to the system, and tells the cluster which one it got (sockets.py)."""
    is_alone = len(settings.members) == 1 and not settings.join
    for name, address in zip(_PORTS, settings.own_member.addresses, strict=True):
        key = f"{name}_advertise"
        if key in origins or settings.join or is_alone:
            expected = "an address that others can connect to, with a host and a port"
            if not _is_reachable(address, is_alone and key not in origins):
                raise _invalid(origins, key, address, expected)
    if is_alone:
        return
    for member in settings.members:
        if not all(map(_is_reachable, member.addresses)):
            expected = "addresses with a host and a port to connect to"
            raise _invalid(origins, "members", str(member), expected)


def is_loopback(address: str) -> bool:
    host = parse_bind_address(address).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_reachable(address: str, any_port: bool = False) -> bool:
    try:
        parsed = parse_bind_address(address) if any_port else parse_connect_address(address)
    except BadAddress:
        return False
    return not parsed.is_wildcard
