"""What every engine's Store owes a node, one suite for all (scenarios A13, I5; etcd's rules)."""

from typing import Any

import pytest
from engines_under_test import ALL, OPEN, StubNode, apply_data, read, run

from metastore.engines.contract import LogRecord, RaftNode, RaftStatus, SnapshotMeta, StorageFailed
from metastore.transport.schema import (
    FUTURE_REVISION,
    KEY_NOT_PROVIDED,
    Code,
    decode_results,
    delete_range,
    encode_batch,
    encode_request,
    put,
    range_,
)

# Raft status


@pytest.mark.parametrize("state", ["follower", "pre-candidate", "candidate", "leader"])
def test_get_raft_status_returns_term_leader_and_state_of_the_node(
    open_store: OPEN, state: str
) -> None:
    node = StubNode(RaftStatus(7, 5, 1, state, 12, 13))
    store = open_store(raft=node)
    assert store.get_raft_status() == RaftStatus(7, 5, 1, state, 12, 13)
    assert (node.term(), node.leader(), node.state()) == (5, 1, state)
    assert isinstance(node, RaftNode)


def test_a_node_injected_later_answers_for_the_store(store: Any) -> None:
    store.set_raft_node(StubNode(RaftStatus(7, 5, 1, "follower", 12, 13)))
    assert store.get_raft_status() == RaftStatus(7, 5, 1, "follower", 12, 13)


def test_a_store_without_a_node_stands_alone(store: Any) -> None:
    run(store, put(b"k", b"v"))
    assert store.get_raft_status() == RaftStatus(7, 0, 0, "standalone", 1, 1)


# Applying


def test_every_operation_has_a_revision_of_its_own_and_the_first_is_two(store: Any) -> None:
    assert store.revision == 1
    assert run(store, put(b"a", b"1"), put(b"b", b"2")) == ((0, 2, None), (0, 3, None))
    assert store.revision == 3


def test_a_put_keeps_the_creation_and_counts_versions(store: Any) -> None:
    run(store, put(b"k", b"1"), put(b"k", b"2"))
    assert run(store, put(b"k", b"2", prev_kv=True)) == ((0, 4, (b"k", b"2", 2, 3, 2, 0)),)
    assert run(store, range_(b"k")) == ((0, 4, ((b"k", b"2", 2, 4, 3, 0),), False, 1),)


def test_a_key_created_again_starts_over(store: Any) -> None:
    run(store, put(b"k", b"1"), put(b"k", b"2"), delete_range(b"k"), put(b"k", b"3"))
    assert run(store, range_(b"k"))[0][2] == ((b"k", b"3", 5, 5, 1, 0),)


def test_a_delete_of_several_keys_is_one_revision_and_of_none_is_no_revision(store: Any) -> None:
    run(store, put(b"a", b"1"), put(b"b", b"2"), put(b"c", b"3"))
    assert run(store, delete_range(b"x", b"z")) == ((0, 4, 0, ()),)
    assert run(store, delete_range(b"a", b"c", prev_kv=True)) == (
        (0, 5, 2, ((b"a", b"1", 2, 2, 1, 0), (b"b", b"2", 3, 3, 1, 0))),
    )
    assert run(store, delete_range(b"c")) == ((0, 6, 1, ()),)
    assert store.key_count == 0


def test_bad_requests_are_answered_and_the_next_ones_applied(store: Any) -> None:
    good = encode_request([put(b"k", b"v")])
    bad = [b"", b"\xc1", b"\x90", encode_request([(99, b"k")]), encode_request([(1, 2, 3, 4, 5)])]
    (applied,) = store.apply([LogRecord(1, 1, 0, encode_batch([*bad, good]))])
    replies = [decode_results(reply)[0][0] for reply in applied.replies]
    assert replies == [Code.INVALID_ARGUMENT] * len(bad) + [Code.OK]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x05", b"\x91", b"\x91\x05"])
def test_an_entry_without_sound_requests_is_applied_all_the_same(store: Any, data: bytes) -> None:
    store.apply([LogRecord(1, 1, 0, data)])
    assert store.last_applied == 1
    assert store.revision == 1


def test_an_empty_key_is_refused_by_every_operation(store: Any) -> None:
    refusal = (Code.INVALID_ARGUMENT, KEY_NOT_PROVIDED)
    assert run(store, put(b"", b"v"), delete_range(b""), range_(b"")) == (refusal,) * 3
    assert store.revision == 1


@pytest.mark.parametrize("index", [1, 3])
def test_an_entry_applied_twice_or_out_of_turn_stops_the_store(store: Any, index: int) -> None:
    run(store, put(b"k", b"v"))
    with pytest.raises(StorageFailed, match=f"entry {index}"):
        store.apply([LogRecord(1, index, 0, b"")])
    with pytest.raises(StorageFailed, match=f"entry {index}"):
        store.skip(index, 1, b"")
    assert store.last_applied == 1


def test_a_skipped_entry_counts_as_applied_and_brings_its_configuration(store: Any) -> None:
    assert store.applied == SnapshotMeta()
    store.skip(1, 2, b"members")
    assert store.applied == SnapshotMeta(1, 2, b"members")
    apply_data(store, b"", term=4)
    assert store.applied == SnapshotMeta(2, 4, b"members")
    store.skip(3, 5, b"")
    assert store.applied == SnapshotMeta(3, 5, b"members"), "nothing about the configuration"
    store.skip(4, 5, b"others")
    assert store.applied == SnapshotMeta(4, 5, b"others")
    assert store.last_applied == 4


def test_the_same_entries_give_the_same_replies_and_the_same_state(open_store: OPEN) -> None:
    requests = [
        encode_request([put(b"k%d" % (place % 7), b"v%d" % place, prev_kv=True)])
        for place in range(50)
    ]
    requests.append(encode_request([delete_range(b"k2", b"k5", prev_kv=True)]))
    one, other = open_store("one"), open_store("other")
    together = one.apply([LogRecord(1, 1, 0, encode_batch(requests))])
    assert list(other.apply([LogRecord(1, 1, 0, encode_batch(requests))])) == list(together)
    assert list(one.scan()) == list(other.scan())


# Reading


@pytest.fixture
def filled(store: Any) -> Any:
    run(store, *(put(key, b"v") for key in (b"a", b"b", b"b\x00", b"c", b"d")))
    return store


@pytest.mark.parametrize(
    ("key", "range_end", "keys"),
    [
        (b"b", b"", [b"b"]),
        (b"x", b"", []),
        (b"b", b"d", [b"b", b"b\x00", b"c"]),
        (b"b", b"\x00", [b"b", b"b\x00", b"c", b"d"]),
        (*ALL, [b"a", b"b", b"b\x00", b"c", b"d"]),
        (b"d", b"b", []),
        (b"b", b"b", []),
    ],
)
def test_a_range_has_the_keys_from_its_start_up_to_its_end(
    filled: Any, key: bytes, range_end: bytes, keys: list[bytes]
) -> None:
    code, revision, found, more, count = read(filled, range_(key, range_end))
    assert [kv[0] for kv in found] == keys
    assert (code, revision, more, count) == (0, 6, False, len(keys))


@pytest.mark.parametrize(("limit", "more"), [(1, True), (4, True), (5, False), (9, False)])
def test_a_limit_cuts_the_keys_but_not_the_count(filled: Any, limit: int, more: bool) -> None:
    result = read(filled, range_(*ALL, limit=limit))
    assert (len(result[2]), result[3], result[4]) == (min(limit, 5), more, 5)


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_is_no_limit(filled: Any, limit: int) -> None:
    assert len(read(filled, range_(*ALL, limit=limit))[2]) == 5


def test_keys_only_drops_values_and_count_only_drops_keys(filled: Any) -> None:
    assert read(filled, range_(b"a", keys_only=True))[2] == ((b"a", b"", 2, 2, 1, 0),)
    assert read(filled, range_(*ALL, count_only=True, limit=1)) == (0, 6, (), False, 5)


@pytest.mark.parametrize("revision", [0, 6, -1])
def test_the_current_revision_can_be_read(filled: Any, revision: int) -> None:
    assert read(filled, range_(b"a", revision=revision))[0] == Code.OK


def test_a_revision_to_come_is_out_of_range(filled: Any) -> None:
    assert read(filled, range_(b"a", revision=7)) == (Code.OUT_OF_RANGE, FUTURE_REVISION)


@pytest.mark.parametrize("request_", [b"\xc1", encode_request([put(b"k", b"v")])])
def test_only_reads_are_read(filled: Any, request_: bytes) -> None:
    (result,) = decode_results(filled.read(request_))
    assert result[0] == Code.INVALID_ARGUMENT
    assert filled.revision == 6
