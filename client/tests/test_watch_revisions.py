"""What a watch makes of the frames it gets: whole revisions, each once, and credit for what was
read."""

from typing import Any

from watch_talk import put, tell, watches
from watching_clients import client_of, keys, wait_until

from metastore.client import Revision, streams
from metastore.transport import watch_frames


def test_a_sign_of_progress_moves_where_a_watch_goes_on(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", start_revision=3) as watch:
        tell(node, 40)
        assert watch.get(0.05) is None
        node.break_connections()
        wait_until(client, lambda: len(watches(node)) == 2)
    assert watches(node)[1].start_revision == 41


def test_what_has_been_seen_is_not_handed_out_again(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", "z", start_revision=4) as watch:
        tell(node, 5, put(b"old", 3), put(b"b", 4), put(b"c", 5))
        tell(node, 6, put(b"c", 5), put(b"d", 6))
        assert keys(watch, 3) == [b"b", b"c", b"d"]


def test_all_events_of_a_revision_come_together(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", "z") as watch:
        tell(node, 5, put(b"b", 4), put(b"c", 5), put(b"d", 5))
        tell(node, 7, put(b"e", 7))
        revisions = watch.revisions()
        found = [next(revisions) for _ in range(3)]
    assert [(r.revision, [e.item.key for e in r.events]) for r in found] == [
        (4, [b"b"]),
        (5, [b"c", b"d"]),
        (7, [b"e"]),
    ]


def test_fragments_come_together_whatever_comes_in_between(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", "z") as watch:
        tell(node, 4, put(b"b", 4), put(b"c", 5), is_fragment=True)
        tell(node, 4)  # a sign of progress
        assert watch.get(0.05) is None
        tell(node, 5, put(b"d", 5))
        revisions = watch.revisions()
        assert [len(next(revisions).events) for _ in range(2)] == [1, 2]


def test_a_sign_of_progress_between_fragments_does_not_pass_over_what_they_hold() -> None:
    stream = streams.Stream(b"a", b"z", 4, 0)
    events = [put(b"b", 4), put(b"c", 5)]
    frame = watch_frames.Events(1, 4, watch_frames.encode_event_list(events), True)
    stream.on_events(frame, events)
    stream.on_events(watch_frames.Events(1, 4, b"", False), ())
    assert stream.next_revision == 4


def test_fragments_of_a_broken_connection_are_sent_anew_and_not_doubled(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", "z", start_revision=4) as watch:
        tell(node, 4, put(b"b", 5), is_fragment=True)
        wait_until(client, lambda: bool(watch._stream._fragments))
        node.break_connections()
        wait_until(client, lambda: len(watches(node)) == 2)
        assert watches(node)[1].start_revision == 4
        tell(node, 5, put(b"b", 5), put(b"c", 5))
        assert keys(watch, 2) == [b"b", b"c"]


def test_a_revision_of_more_fragments_than_there_is_credit_gets_through(cluster: Any) -> None:
    node = cluster.leader

    def credit() -> int:
        return sum(f.credit for f in node.watch_frames if isinstance(f, watch_frames.Credit))

    with client_of(node) as client, client.watch("a", "z"):
        for number in range(3):
            tell(node, 4, put(b"b%d" % number, 5), is_fragment=True)
        wait_until(client, lambda: credit() == 3)


def test_credit_is_given_back_for_what_was_read_and_no_more(cluster: Any) -> None:
    node = cluster.leader
    half = streams.CREDIT_FRAMES // 2

    def credits() -> list[int]:
        return [f.credit for f in node.watch_frames if isinstance(f, watch_frames.Credit)]

    with client_of(node) as client, client.watch("a", "z") as watch:
        for number in range(streams.CREDIT_FRAMES):
            tell(node, 5 + number, put(b"b", 5 + number))
        wait_until(client, lambda: len(watch._stream._arrived) == streams.CREDIT_FRAMES)
        assert credits() == []
        assert len(keys(watch, half)) == half
        node.wait_for(lambda: credits() == [half])
        node.break_connections()
        wait_until(client, lambda: len(watches(node)) == 2)
    assert watches(node)[1].credit == half  # the rest lies here unread


def test_progress_is_shown_to_who_asked_for_it_and_only_the_last_is_kept(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", progress=True) as watch:
        watch.ask_progress()
        node.wait_for(lambda: isinstance(node.watch_frames[-1], watch_frames.ProgressRequest))
        tell(node, 8)
        tell(node, 9)
        wait_until(client, lambda: watch._stream.next_revision == 10)
        assert next(watch.revisions()) == Revision(9, ())
        assert watch.revision == 9


def test_malformed_events_break_the_connection_and_not_the_client(cluster: Any) -> None:
    node = cluster.leader
    with client_of(node) as client, client.watch("a", start_revision=4) as watch:
        request_id = watches(node)[-1].request_id
        node.tell(watch_frames.encode_events(request_id, 9, b"\xc1"))
        wait_until(client, lambda: len(watches(node)) == 2)
        assert watches(node)[1].start_revision == 4
        tell(node, 5, put(b"a", 5))
        assert keys(watch, 1) == [b"a"]
