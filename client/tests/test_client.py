"""The client against scripted nodes: where calls go, what is repeated, and what errors mean."""

import os
from typing import Any

import pytest

from metastore.client import (
    Client,
    ClientMisused,
    InvalidRequest,
    KeyValue,
    NotLeader,
    OutcomeUnknown,
    Refused,
    Unavailable,
    WrongCluster,
    WrongVersion,
    prefix_range,
)
from metastore.transport import schema


def client_of(node: Any, **options: Any) -> Client:
    return Client(node.client_address, **options)


def test_what_was_put_is_read_back_with_its_revisions(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        assert client.put("a", "1").revision == 2
        assert client.put("a", b"2", prev_kv=True).previous == KeyValue(b"a", b"1", 2, 2, 1, 0)
        assert client.get("a") == KeyValue(b"a", b"2", 2, 3, 2, 0)
        assert client.get("b") is None


def test_a_range_and_its_deletion_take_the_keys_of_a_prefix(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.batch([schema.put(key, b"v") for key in (b"a/1", b"a/2", b"b")])
        found = client.range(*prefix_range(b"a/"), limit=1)
        assert ([kv.key for kv in found.items], found.more, found.count) == ([b"a/1"], True, 2)
        deleted = client.delete_range(*prefix_range(b"a/"), prev_kv=True)
        assert (deleted.deleted, [kv.key for kv in deleted.previous]) == (2, [b"a/1", b"a/2"])
        assert client.delete("b").deleted == 1


def test_a_batch_gives_results_in_order_with_the_refused_in_their_place(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        put, refused, read = client.batch(
            [schema.put(b"a", b"1"), schema.put(b"", b"2"), schema.range_(b"a")]
        )
    assert put.revision == 2  # type: ignore[union-attr]
    assert refused == Refused(schema.Code.INVALID_ARGUMENT, schema.KEY_NOT_PROVIDED)
    assert [kv.value for kv in read.items] == [b"1"]  # type: ignore[union-attr]


def test_a_refused_operation_raises_the_words_of_the_store(cluster: Any) -> None:
    with client_of(cluster.leader) as client, pytest.raises(InvalidRequest) as caught:
        client.put("", "1")
    assert str(caught.value) == schema.KEY_NOT_PROVIDED


def test_a_write_goes_to_the_leader_whose_address_a_follower_told(make_cluster: Any) -> None:
    cluster = make_cluster(3, leader_id=3)
    with client_of(cluster[1]) as client:
        client.put("a", "1")
    assert [len(node.requests) for node in cluster.nodes] == [0, 0, 1]


def test_a_client_follows_the_leadership_when_it_moves(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=1)
    with client_of(cluster[1]) as client:
        client.put("a", "1")
        cluster.leader_id = 2
        client.put("a", "2")
    assert [len(node.requests) for node in cluster.nodes] == [2, 1]
    assert len(cluster.applied) == 2


def test_a_dead_endpoint_is_passed_over(cluster: Any, unused_address: str) -> None:
    with Client([unused_address, cluster.leader.client_address]) as client:
        client.put("a", "1")
        assert client.get("a", level="local") is not None


def test_a_new_leader_is_found_when_the_old_one_dies(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=1)
    with client_of(cluster[1]) as client:
        client.put("a", "1")
        cluster[1].stop()
        cluster.leader_id = 2
        assert client.get("a") is not None


@pytest.mark.parametrize("code", ["not_leader", "unavailable"])
def test_a_write_that_was_not_proposed_is_repeated(cluster: Any, code: str) -> None:
    cluster.leader.script.extend([code, code])
    with client_of(cluster.leader) as client:
        client.put("a", "1")
    assert (len(cluster.leader.requests), len(cluster.applied)) == (3, 1)


@pytest.mark.parametrize("code", ["not_leader", "unavailable"])
def test_a_write_that_was_never_proposed_is_not_called_unknown(cluster: Any, code: str) -> None:
    cluster.leader.default_act = code
    with client_of(cluster.leader, timeout_s=0.2) as client, pytest.raises(Unavailable):
        client.put("a", "1")
    assert cluster.leader.requests


@pytest.mark.parametrize("act", ["ignore", "hang_up", "serve_and_hang_up", "outcome_unknown"])
def test_without_a_session_a_write_without_an_answer_is_unknown_and_never_repeated(
    cluster: Any, act: str
) -> None:
    cluster.leader.script.append(act)
    with client_of(cluster.leader, timeout_s=0.3, use_sessions=False) as client:
        with pytest.raises(OutcomeUnknown, match="read the keys before repeating"):
            client.put("a", "1")
        client.get("a", timeout_s=5)  # whatever would be repeated is ahead of this
    writes = [ops for _, ops in cluster.leader.requests if ops[0][0] == schema.Op.PUT]
    assert len(writes) == 1


@pytest.mark.parametrize(
    "act", ["not_leader", "unavailable", "hang_up", "outcome_unknown", "garbage"]
)
def test_a_read_is_repeated_whatever_happened_to_it(cluster: Any, act: str) -> None:
    cluster.leader.script.append(act)
    with client_of(cluster.leader) as client:
        assert client.get("a") is None
    assert len(cluster.leader.requests) == 2


def test_a_batch_that_also_writes_is_not_repeated_like_a_read(cluster: Any) -> None:
    cluster.leader.script.append("hang_up")
    with client_of(cluster.leader, use_sessions=False) as client, pytest.raises(OutcomeUnknown):
        client.batch([schema.range_(b"a"), schema.put(b"a", b"1")])
    assert len(cluster.leader.requests) == 1


def test_a_write_that_never_left_is_unavailable_and_names_the_endpoint(unused_address: str) -> None:
    client = Client(unused_address, timeout_s=0.2)
    with client, pytest.raises(Unavailable, match=unused_address):
        client.put("a", "1")


def test_without_a_leader_the_time_out_says_so(make_cluster: Any) -> None:
    cluster = make_cluster(1, leader_id=0)
    client = client_of(cluster[1], timeout_s=0.2)
    with client, pytest.raises(Unavailable, match="know of no leader"):
        client.put("a", "1")
    assert cluster[1].requests == []


def test_a_write_that_timed_out_before_it_left_never_leaves(make_cluster: Any) -> None:
    cluster = make_cluster(1, leader_id=0)
    with client_of(cluster[1]) as client:
        with pytest.raises(Unavailable):
            client.put("a", "1", timeout_s=0.1)
        cluster.leader_id = 1
        client.put("b", "1")
    assert [operation[1] for operation in cluster.applied] == [b"b"]


def test_a_read_without_an_answer_times_out_as_unavailable(cluster: Any) -> None:
    cluster.leader.default_act = "ignore"
    with client_of(cluster.leader, timeout_s=0.2) as client, pytest.raises(Unavailable):
        client.get("a")


def test_a_local_read_asks_the_first_endpoint_and_not_the_leader(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=2)
    with client_of(cluster[1]) as client:
        client.put("a", "1")
        client.get("a", level="local")
        client.get("a", level="lease")
    assert [level for level, _ in cluster[1].requests] == [2]
    assert [level for level, _ in cluster[2].requests] == [0, 1]


def test_a_pinned_client_says_who_leads_instead_of_going_there(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=2)
    with client_of(cluster[1], is_pinned=True) as client, pytest.raises(NotLeader) as caught:
        client.put("a", "1")
    assert caught.value.leader_id == 2
    assert caught.value.leader_address == cluster[2].client_address
    assert cluster[2].hellos_count == 0


def test_endpoints_of_two_clusters_are_refused(make_cluster: Any) -> None:
    first, second = make_cluster(1, leader_id=0), make_cluster(1, leader_id=0)
    second.cluster_id = 78
    endpoints = [first[1].client_address, second[1].client_address]
    with Client(endpoints) as client, pytest.raises(WrongCluster, match="another cluster"):
        client.put("a", "1")


@pytest.mark.parametrize(
    ("code", "error"), [("wrong_cluster", WrongCluster), ("wrong_version", WrongVersion)]
)
def test_a_node_that_refuses_us_for_good_ends_the_call_at_once(
    cluster: Any, code: str, error: type[Exception]
) -> None:
    cluster.greeting_error = code
    with client_of(cluster.leader) as client, pytest.raises(error, match="no entry"):
        client.put("a", "1")


def test_a_request_that_is_invalid_is_raised_and_not_repeated(cluster: Any) -> None:
    cluster.leader.script.append("invalid")
    with client_of(cluster.leader) as client, pytest.raises(InvalidRequest, match="so it says"):
        client.put("a", "1")
    assert len(cluster.leader.requests) == 1


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        ([], "at least one"),
        ([schema.put(b"a", b"")] * schema.OPERATIONS_MAX, "too many"),
        ([schema.put(b"a", bytes(schema.REQUEST_BYTES_MAX))], "too many"),
    ],
)
def test_a_request_beyond_the_limits_is_refused_before_it_leaves(
    cluster: Any, operations: Any, words: str
) -> None:
    with client_of(cluster.leader) as client, pytest.raises(InvalidRequest, match=words):
        client.batch(operations)
    assert cluster.leader.hellos_count == 0


@pytest.mark.parametrize("endpoints", ["", "127.0.0.1:7002", "tcp://127.0.0.1", []])
def test_endpoints_that_are_no_addresses_are_refused(endpoints: Any) -> None:
    with pytest.raises(InvalidRequest):
        Client(endpoints)


def test_a_key_that_is_no_text_and_an_unknown_level_are_refused(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        with pytest.raises(InvalidRequest, match="bytes or str"):
            client.put(1, "1")  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="none of linearizable"):
            client.get("a", level="fresh")


def test_a_closed_client_refuses_and_closing_twice_is_fine(cluster: Any) -> None:
    client = client_of(cluster.leader)
    client.put("a", "1")
    client.close()
    client.close()
    with pytest.raises(ClientMisused, match="closed"):
        client.get("a")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking beside threads is the point
def test_a_forked_child_is_told_to_make_its_own_client(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.put("a", "1")
        child = os.fork()
        if child == 0:
            try:
                client.get("a")
            except ClientMisused:
                client.close()  # must not touch the parent's sockets
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert client.get("a") is not None
