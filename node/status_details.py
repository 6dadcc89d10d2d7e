"""Gathers the slower part of a node's status from its parts, once a tick, on the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metastore.node.status import Details, PeerStatus
from metastore.transport.schema import Alarm

if TYPE_CHECKING:
    from metastore.node.parts import Parts

_STORE_ALARMS = {
    int(Alarm.NOSPACE): "NOSPACE: the store is larger than quota_bytes; writes are refused until "
    "old revisions are compacted or keys deleted",
    int(Alarm.CORRUPT): "CORRUPT: the replicas do not hold the same",
}


def details_of(parts: Parts) -> Details:
    status = parts.core.status()
    own = parts.settings.node_id
    configuration = status.configuration
    return Details(
        voters=sorted(configuration.voters),
        voters_outgoing=sorted(configuration.voters_outgoing),
        learners=sorted(configuration.learners),
        alive=sorted(parts.members.alive()),
        progress=[
            PeerStatus(
                node_id,
                progress.match_index,
                progress.next_index,
                progress.state.value,
                progress.recently_active,
                progress.is_learner,
            )
            for node_id, progress in sorted(status.progress.items())
            if node_id != own
        ],
        first_index=parts.mirror.first_index(),
        last_index=parts.core.last_index,
        snapshot_index=parts.mirror.newest.index,
        log_bytes=parts.raft_log.size_bytes(),
        key_count=parts.store.key_count,
        revision=parts.store.revision,
        compacted_revision=parts.store.compacted_revision,
        size_bytes=parts.store.size_bytes,
        lease_count=len(parts.upkeep.leases),
        watch_count=parts.upkeep.watching.count,
        engine_limits=getattr(parts.store, "limits", ()),  # of RocksDB, by its binding
        sync_latency=parts.disk.latencies.summary(),
        alarms=_alarms(parts),
        counters=_counters(parts),
    )


def _alarms(parts: Parts) -> list[str]:
    alarms = [
        f"node {node_id} refuses this node: {reason}"
        for node_id, reason in sorted(parts.sockets.peers.refusals.items())
    ]
    for alarm in parts.store.alarms:
        alarms.insert(0, _STORE_ALARMS.get(alarm, f"alarm {alarm}"))
    if parts.security is not None and parts.security.access.problem:
        alarms.insert(0, parts.security.access.problem)
    if parts.lost_tail.is_missing:
        alarms.insert(
            0,
            f"index {parts.lost_tail.committed_once} was committed once, but the log lost its end: "
            "this node neither votes nor leads until it has it again",
        )
    if not parts.core.leader_id:
        alarms.insert(0, "no leader is known: is a majority of the voters running and reachable?")
    return alarms


def _counters(parts: Parts) -> dict[str, int]:
    """Flat names with dots; every drop and refusal with its peer and reason."""
    counters: dict[str, int] = {
        "loop.lag_ms_max": round(parts.lag_s_max * 1000),
        "proposals.pending": len(parts.pending),
        "reads.pending": len(parts.reads),
        "appends.outstanding": parts.disk.outstanding,
    }
    for peer, count in sorted(parts.malformed.items()):
        counters[f"peers.malformed.{peer}"] = count
    _flatten("peers", parts.sockets.peers.counters(), counters)
    _flatten("snapshots", parts.sockets.receiver.counters(), counters)
    _flatten("watches", parts.upkeep.watching.counters(), counters)
    _flatten("clients", parts.sockets.clients.counters(), counters)
    _flatten("access", parts.gate.counters(), counters)
    _flatten("keys", parts.sockets.door.counters(), counters)
    return counters


def _flatten(name: str, value: object, into: dict[str, int]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}.{key}", inner, into)
    elif isinstance(value, int):
        into[name] = value
