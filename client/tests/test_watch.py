"""Watches against scripted nodes: nothing lost, nothing twice, whichever node serves them.

What one makes of the frames that arrive is in test_watch_revisions.py.
"""

import threading
from typing import Any

import pytest
from watch_talk import put, tell, watches
from watching_clients import WAIT_S, client_of, keys, wait_until

from metastore.client import (
    Compacted,
    Event,
    InvalidRequest,
    KeyValue,
    Unavailable,
    connection,
    streams,
    watching,
)
from metastore.transport import envelope, watch_frames
from metastore.transport.watch_frames import WatchFlag


def test_puts_and_deletions_come_as_events_with_what_was_before(cluster: Any) -> None:
    with client_of(cluster.leader) as client, client.watch("a", prev_kv=True) as watch:
        before = (b"a", b"1", 2, 2, 1, 0)
        tell(cluster.leader, 3, ((b"a", b"2", 2, 3, 2, 0), before))
        tell(cluster.leader, 4, ((b"a", b"", 0, 4, 0, 0), None))
        assert watch.get(WAIT_S) == Event(
            "put", KeyValue(b"a", b"2", 2, 3, 2, 0), KeyValue(*before)
        )
        assert watch.get(WAIT_S) == Event("delete", KeyValue(b"a", b"", 0, 4, 0, 0), None)
        assert watch.revision == 4
        assert watch.get(0.0) is None


def test_a_watch_says_what_it_wants(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.watch("a/", prefix=True, start_revision=7, filters="put", prev_kv=True).close()
        client.watch("a", "b", filters=["delete"], progress=True).close()
    first, second = watches(cluster.leader)
    assert first[1:4] == (b"a/", b"a0", 7)
    assert first.flags == WatchFlag.PREV_KV | WatchFlag.NO_PUT | WatchFlag.FRAGMENT
    assert second[1:4] == (b"a", b"b", 0)
    assert second.flags == WatchFlag.NO_DELETE | WatchFlag.PROGRESS | WatchFlag.FRAGMENT
    assert second.credit == streams.CREDIT_FRAMES


def test_a_watch_whose_connection_broke_goes_on_after_the_last_revision(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", "z") as watch:
        tell(node, 5, put(b"b", 4), put(b"c", 5))
        assert keys(watch, 2) == [b"b", b"c"]
        node.break_connections()
        wait_until(client, lambda: len(watches(node)) == 2)
        assert watches(node)[1].start_revision == 6
        tell(node, 6, put(b"d", 6))
        assert keys(watch, 1) == [b"d"]


def test_a_watch_goes_on_on_another_node(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=2)
    with client_of(cluster[1]) as client, client.watch("a", "z") as watch:
        client.known_nodes()
        tell(cluster[1], 4, put(b"b", 4))
        assert keys(watch, 1) == [b"b"]
        cluster[1].stop()
        wait_until(client, lambda: len(watches(cluster[2])) == 1)
        assert watches(cluster[2])[0].start_revision == 5
        tell(cluster[2], 5, put(b"c", 5))
        assert keys(watch, 1) == [b"c"]


def test_a_watch_from_now_on_goes_on_from_when_it_was_made(cluster: Any) -> None:
    node = cluster.leader
    cluster.revision = 30
    with client_of(node) as client, client.watch("a"):
        cluster.revision = 35  # what happened meanwhile must not be passed over
        node.break_connections()
        wait_until(client, lambda: len(watches(node)) == 2)
    assert [frame.start_revision for frame in watches(node)] == [0, 31]


def test_a_watch_is_not_taken_ahead_by_the_node_it_comes_to(cluster: Any) -> None:
    node = cluster.leader
    cluster.revision = 30
    with client_of(node) as client, client.watch("a", start_revision=10):
        node.break_connections()
        wait_until(client, lambda: len(watches(node)) == 2)
    assert [frame.start_revision for frame in watches(node)] == [10, 10]


def test_a_compacted_watch_ends_with_the_revision_after_what_had_arrived(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", start_revision=3) as watch:
        tell(node, 4, put(b"a", 4))
        node.tell(watch_frames.encode_canceled(watches(node)[-1].request_id, 9, "compacted"))
        wait_until(client, lambda: watch._stream.error is not None)
        assert keys(watch, 1) == [b"a"]
        for _ in range(2):
            with pytest.raises(Compacted, match="oldest revision is 9") as caught:
                watch.get(WAIT_S)
            assert caught.value.revision == 9


def test_a_watch_that_a_stopping_node_lets_go_of_moves_to_another(make_cluster: Any) -> None:
    cluster = make_cluster(2, leader_id=2)
    with client_of(cluster[1]) as client, client.watch("a", start_revision=3) as watch:
        client.known_nodes()
        request_id = watches(cluster[1])[-1].request_id
        cluster[1].tell(watch_frames.encode_canceled(request_id, 0, "the node is stopping"))
        wait_until(client, lambda: "the node is stopping" in watch.trouble)
        wait_until(client, lambda: watch.trouble == "")
    assert len(watches(cluster[1])) == len(watches(cluster[2])) == 1


def test_a_watch_leaves_a_node_that_shows_no_sign_of_life(
    make_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make_cluster(2, leader_id=2)
    with client_of(cluster[1]) as client, client.watch("a", start_revision=3):
        client.known_nodes()
        monkeypatch.setattr(watching, "SILENCE_S_MAX", 0.1)
        wait_until(client, lambda: len(watches(cluster[2])) > 0)
    assert watches(cluster[2])[0].start_revision == 3


def test_a_watch_that_is_not_accepted_in_time_is_unavailable_and_withdrawn(cluster: Any) -> None:
    node = cluster.leader
    node.answers_watches = False
    with client_of(node) as client:
        with pytest.raises(Unavailable, match="no node serves the watch"):
            client.watch("a", timeout_s=0.1)
        client.get("a")
        canceled = watch_frames.Cancel(watches(node)[0].request_id)
        node.wait_for(lambda: canceled in node.watch_frames)


def test_a_node_that_does_not_accept_a_watch_is_passed_over(
    make_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENCE_S_MAX", 0.05)
    cluster = make_cluster(2, leader_id=2)
    cluster[1].answers_watches = False
    with client_of(cluster[1]) as client:
        client.known_nodes()
        client.watch("a").close()
    assert len(watches(cluster[2])) == 1


@pytest.mark.parametrize(
    ("code", "error"), [("invalid", InvalidRequest), ("unavailable", Unavailable)]
)
def test_what_a_node_says_about_a_watch_reaches_the_caller(
    cluster: Any, code: str, error: type[Exception]
) -> None:
    node = cluster.leader
    node.answers_watches = False
    failures: list[BaseException] = []

    def make() -> None:
        try:
            client.watch("a", timeout_s=0.5)
        except Exception as failure:
            failures.append(failure)

    with client_of(node) as client:
        thread = threading.Thread(target=make)
        thread.start()
        node.wait_for(lambda: len(watches(node)) == 1)
        node.tell(envelope.encode_error(watches(node)[0].request_id, code, "not here"))
        thread.join(WAIT_S)
    assert [type(failure) for failure in failures] == [error]


def test_watches_of_one_connection_get_their_own_events(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a") as first:
        first_id = watches(node)[-1].request_id
        with client.watch("b") as second:
            tell(node, 5, put(b"b", 5))
            events = watch_frames.encode_event_list([put(b"a", 6)])
            node.tell(watch_frames.encode_events(first_id, 6, events))
            assert (keys(first, 1), keys(second, 1)) == ([b"a"], [b"b"])
            client.put("c", "1")
    assert len({id(identity) for identity in node.watchers.values()}) <= 2


def test_closing_ends_the_iteration_of_another_thread_and_tells_the_node(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client:
        watch = client.watch("a")
        seen: list[Event] = []
        reader = threading.Thread(target=lambda: seen.extend(watch))
        reader.start()
        watch.close()
        watch.close()
        reader.join(WAIT_S)
        assert not reader.is_alive()
        canceled = watch_frames.Cancel(watches(node)[0].request_id)
        node.wait_for(lambda: canceled in node.watch_frames)
        assert list(watch) == []


def test_closing_the_client_ends_its_watches_with_an_error(cluster: Any) -> None:
    client = client_of(cluster.leader)
    watch = client.watch("a")
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        next(watch)
    watch.close()


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("b", "a"), {}, "empty"),
        (("",), {}, "needs a key"),
        (("a",), {"start_revision": -1}, "not negative"),
        (("a",), {"filters": ["lease"]}, "none of put, delete"),
        (("a", "b"), {"prefix": True}, "exclude each other"),
    ],
)
def test_a_watch_that_no_node_would_accept_is_refused_at_once(
    cluster: Any, arguments: Any, options: Any, words: str
) -> None:
    with client_of(cluster.leader) as client, pytest.raises(InvalidRequest, match=words):
        client.watch(*arguments, **options)
    assert cluster.leader.hellos_count == 0
