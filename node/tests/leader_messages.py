"""What the leader of term 2, node 2, sends to the node under test."""

from collections.abc import Sequence

from metastore.node.raft.messages import AppendEntries
from metastore.node.raft.model import Entry
from metastore.transport import schema


def put(key: bytes) -> bytes:
    return schema.encode_request([schema.put(key, b"v")])


def batch(*requests: bytes) -> bytes:
    return schema.encode_batch(requests)


def append(entries: Sequence[Entry], commit: int = 1, prev: int = 1) -> AppendEntries:
    return AppendEntries(
        sender=2,
        to=1,
        term=2,
        prev_log_index=prev,
        prev_log_term=1 if prev == 1 else 2,
        commit_index=commit,
        entries=tuple(entries),
    )


def normal(index: int, *requests: bytes, term: int = 2) -> Entry:
    return Entry(term, index, data=batch(*requests))
