"""The command that creates the nodes of an interaction file.

One of three files of commands; interaction.py has their table.
"""

import random

from conformance.addressing import CommandFailed
from conformance.datadriven import Directive
from conformance.environment import Environment, HarnessStorage, Node

from metastore.node.raft.config import RaftConfig, ReadOnly
from metastore.node.raft.model import NO_LIMIT, ConfigurationState, Snapshot

ELECTION_TIMEOUT_TICKS = 3
HEARTBEAT_TICKS = 1
INFLIGHT_COUNT_MAX = (1 << 31) - 1
_READ_ONLY = {None: ReadOnly.SAFE, "safe": ReadOnly.SAFE, "lease-based": ReadOnly.LEASE}


def on_add_nodes(env: Environment, directive: Directive) -> None:
    counts = directive.positional_numbers()
    if len(counts) != 1:
        raise directive.malformed("needs the number of nodes")
    bootstrap = _bootstrap_snapshot(directive)
    for _ in range(counts[0]):
        storage = HarnessStorage()
        if bootstrap.index:
            storage.apply_snapshot(bootstrap)
        storage.history.append(bootstrap)
        config = _config(env, directive, len(env.nodes) + 1, storage, bootstrap.index)
        env.nodes.append(Node(config, storage))


def _bootstrap_snapshot(directive: Directive) -> Snapshot:
    keys = ("voters", "learners", "index", "content")
    if all(directive.values_or_none(key) is None for key in keys):
        return Snapshot()
    index = directive.number("index", 0)
    if index <= 1:
        raise CommandFailed("index must be specified as > 1 due to bootstrap")
    configuration = ConfigurationState(
        voters=directive.numbers("voters"), learners=directive.numbers("learners")
    )
    content = directive.value_or_none("content") or ""
    return Snapshot(index, 1, configuration, content.encode())


def _config(
    env: Environment, directive: Directive, node_id: int, storage: HarnessStorage, applied: int
) -> RaftConfig:
    read_only = directive.value_or_none("read-only")
    if read_only not in _READ_ONLY:
        raise directive.malformed(f"read-only must be safe or lease-based, not {read_only!r}")
    return RaftConfig(
        id=node_id,
        election_timeout_ticks=ELECTION_TIMEOUT_TICKS,
        heartbeat_ticks=HEARTBEAT_TICKS,
        storage=storage,
        applied=applied,
        async_storage_writes=directive.flag("async-storage-writes"),
        max_append_bytes=NO_LIMIT,
        max_committed_bytes_per_ready=directive.number("max-committed-size-per-ready", 0),
        max_inflight_count=directive.number("inflight", INFLIGHT_COUNT_MAX),
        pre_vote=directive.flag("prevote"),
        check_quorum=directive.flag("checkquorum"),
        read_only=_READ_ONLY[read_only],
        disable_change_validation=directive.flag("disable-conf-change-validation"),
        step_down_on_removal=directive.flag("step-down-on-removal"),
        random=random.Random(node_id),
        tracer=env.trace,
    )
