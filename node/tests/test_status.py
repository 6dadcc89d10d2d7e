"""The status board: six fields for whoever asks briefly, all of it for whoever asks for more."""

from collections import deque
from typing import Any

import msgpack
import pytest

from metastore.engines.contract import RaftNode, RaftStatus
from metastore.node.identity import Identity
from metastore.node.settings import Settings
from metastore.node.status import (
    LATENCIES_KEPT,
    Details,
    PeerStatus,
    StatusBoard,
    SyncLatencies,
    SyncLatency,
)
from metastore.transport.member_ops import MemberInfo
from metastore.transport.status import UnknownMethod

LEADING = RaftStatus(1, 4, 1, "leader", 17, 18)
PEER = PeerStatus(2, 16, 18, "StateReplicate", True)
DETAILS = Details(
    voters=(1, 2),
    learners=(3,),
    progress=(PEER,),
    first_index=5,
    last_index=18,
    snapshot_index=4,
    log_bytes=1000,
    key_count=7,
    revision=9,
    compacted_revision=3,
    size_bytes=800,
    lease_count=2,
    watch_count=5,
    engine_limits=("no promise",),
    sync_latency=SyncLatency(1, 2.0, 2.0, 2.0),
    alarms=("no leader is known",),
    counters={"peers.dropped": 2},
)


def started(incarnation: int) -> Identity:
    return Identity(7, 1, "memory", incarnation=incarnation, directory_id=99)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_raft_status_is_exactly_the_six_fields(settings: Settings) -> None:
    board = StatusBoard(settings, started(3))
    board.publish(LEADING)
    assert board.answer("raft_status") == {
        "node_id": 1,
        "term": 4,
        "leader_id": 1,
        "state": "leader",
        "applied": 17,
        "commit": 18,
    }


def test_before_the_first_publication_the_node_follows_nobody(settings: Settings) -> None:
    assert StatusBoard(settings, started(1)).status() == RaftStatus(1, 0, 0, "follower", 0, 0)


def test_the_board_is_the_raft_node_of_a_store(settings: Settings) -> None:
    board = StatusBoard(settings, started(1))
    board.publish(LEADING)
    assert isinstance(board, RaftNode)
    assert (board.status(), board.term(), board.leader(), board.state()) == (
        LEADING,
        4,
        1,
        "leader",
    )


def test_the_full_status_tells_who_and_what_this_node_is(settings: Settings) -> None:
    clock = Clock()
    board = StatusBoard(settings, started(3), clock)
    clock.now_s += 12.5
    board.show_members([MemberInfo(1, "voter", "member", *"pcts", 99, 0)])
    answer = board.answer("status")
    assert answer["engine"] == "memory"
    assert answer["durability"] == "always"
    assert answer["cluster_id"] == settings.cluster_id
    assert answer["incarnation"] == 3
    assert answer["uptime_s"] == 12.5
    assert answer["directory_id"] == 99
    assert answer["members"][0]["client"] == "c"
    assert answer["version"]


@pytest.fixture
def full(settings: Settings) -> dict[str, Any]:
    board = StatusBoard(settings, started(1))
    board.publish(LEADING, DETAILS)
    return board.answer("status")


def test_the_full_status_holds_the_six_fields_and_how_the_node_is(full: dict[str, Any]) -> None:
    assert LEADING.as_dict().items() <= full.items()
    assert full["configuration"] == {"voters": [1, 2], "voters_outgoing": [], "learners": [3]}
    assert full["progress"] == [PEER.as_dict()]
    assert full["engine_limits"] == ["no promise"]
    assert full["sync_latency_ms"] == {"count": 1, "p50": 2.0, "p99": 2.0, "max": 2.0}
    assert full["alarms"] == ["no leader is known"]
    assert full["counters"] == {"peers.dropped": 2}


def test_the_full_status_holds_what_is_in_the_log_and_in_the_store(
    full: dict[str, Any], settings: Settings
) -> None:
    assert full["log"] == {
        "first_index": 5,
        "last_index": 18,
        "snapshot_index": 4,
        "bytes": 1000,
    }
    assert full["store"] == {
        "key_count": 7,
        "revision": 9,
        "compacted_revision": 3,
        "size_bytes": 800,
        "quota_bytes": settings.quota_bytes,
        "leases": 2,
        "watches": 5,
    }


def test_every_answer_is_msgpack(settings: Settings) -> None:
    board = StatusBoard(settings, started(1))
    board.publish(LEADING, Details(progress=(PeerStatus(2, 1, 2, "StateProbe", False),)))
    for method in ("raft_status", "status"):
        answer = board.answer(method)
        assert msgpack.unpackb(msgpack.packb(answer)) == answer


def test_the_details_stay_when_only_the_raft_state_is_published(settings: Settings) -> None:
    board = StatusBoard(settings, started(1))
    board.publish(LEADING, Details(revision=9))
    board.publish(RaftStatus(1, 5, 0, "follower", 18, 18))
    answer = board.answer("status")
    assert (answer["term"], answer["store"]["revision"]) == (5, 9)


def test_an_unknown_method_gets_an_error_that_repeats_little_of_it(settings: Settings) -> None:
    with pytest.raises(UnknownMethod, match="raft_status and status") as caught:
        StatusBoard(settings, started(1)).answer("x" * 10_000)
    assert len(str(caught.value)) < 200


def test_percentiles_are_by_nearest_rank_in_milliseconds() -> None:
    samples = deque(n / 1000 for n in range(1, 201))
    assert SyncLatency.of([1000 * s for s in samples]) == SyncLatency(200, 100.0, 198.0, 200.0)
    assert SyncLatency.of([5.0]) == SyncLatency(1, 5.0, 5.0, 5.0)
    assert SyncLatency.of([]) == SyncLatency(0, 0.0, 0.0, 0.0)


def test_only_the_newest_sync_times_are_kept() -> None:
    latencies = SyncLatencies()
    latencies.add(9.0)
    for _ in range(LATENCIES_KEPT):
        latencies.add(0.001)
    assert latencies.summary() == SyncLatency(LATENCIES_KEPT, 1.0, 1.0, 1.0)
