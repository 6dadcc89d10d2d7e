"""Lets the fake cluster of fake_cluster.py play what locks and elections need of a store.

For tests that go the whole way, over sockets; the recipes alone are held with line_store.py.
"""

import itertools
from typing import Any

from watch_talk import watches

from metastore.transport import schema, watch_frames


def play(cluster: Any) -> None:
    """Lets the cluster grant leases of 60 s, compare create revisions and sort by them, and tell
    those who watch a key that it went with its lease."""

    def txn(operation: Any) -> Any:
        _, [(_, _, key, _, operand)], success, failure = operation
        found = cluster.data.get(key)
        succeeded = (found[2] if found else 0) == operand
        results = [cluster._apply_to_keys(op) for op in (success if succeeded else failure)]
        return [0, cluster.revision, succeeded, results]

    def filtered_range(operation: Any) -> Any:
        _, start, end, limit, _, _, order, _, _, _, _, created_max = operation
        found = [kv for key, kv in cluster.data.items() if start <= key < end]
        found = [kv for kv in found if not created_max or kv[2] <= created_max]
        found.sort(key=lambda kv: kv[2], reverse=order == schema.SortOrder.DESCEND)
        return [0, cluster.revision, found[: limit or None], 0 < limit < len(found), len(found)]

    def revoke(operation: Any) -> Any:
        for key in [key for key, kv in cluster.data.items() if kv[5] == operation[1]]:
            del cluster.data[key]
            cluster.revision += 1
            tell_deletion(cluster.leader, key, cluster.revision)
        return [0, cluster.revision]

    cluster.answers[schema.Op.TXN] = txn
    cluster.answers[schema.Op.FILTERED_RANGE] = filtered_range
    lease_ids = itertools.count(0x50)
    cluster.answers[schema.Op.LEASE_GRANT] = lambda op: [0, 1, op[1] or next(lease_ids), 60]
    cluster.answers[schema.Op.LEASE_REVOKE] = revoke


def tell_deletion(node: Any, key: bytes, revision: int) -> None:
    for watch in watches(node):
        if watch.key == key:
            events = watch_frames.encode_event_list([((key, b"", 0, revision, 0, 0), None)])
            node.tell(watch_frames.encode_events(watch.request_id, revision, events))
