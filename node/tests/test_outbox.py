"""What leaves at the end of a turn: one message per peer, and the core hears what did not leave."""

from metastore.node.codec import decode_messages
from metastore.node.outbox import PAYLOAD_BYTES_AIM, Outbox, Replies
from metastore.node.raft.messages import AppendEntries, Heartbeat, Message, RequestVote
from metastore.node.raft.model import Entry

ME = 1
MIB = 1 << 20


class Peers:
    """Takes everything, or nothing for the nodes that are `full`."""

    def __init__(self, *full: int) -> None:
        self.full = full
        self.sent: list[tuple[int, bytes]] = []

    def send(self, node_id: int, payload: bytes) -> bool:
        if node_id in self.full:
            return False
        self.sent.append((node_id, payload))
        return True

    def messages(self) -> list[tuple[int, list[Message]]]:
        return [(node_id, decode_messages(payload, ME)) for node_id, payload in self.sent]


def append(to: int, size: int = 0, index: int = 1) -> AppendEntries:
    entries = (Entry(1, index, data=b"x" * size),) if size else ()
    return AppendEntries(
        sender=ME, to=to, term=1, prev_log_index=index - 1, prev_log_term=1, entries=entries
    )


def heartbeat(to: int) -> Heartbeat:
    return Heartbeat(sender=ME, to=to, term=1)


def test_all_messages_of_a_turn_to_one_peer_travel_together_in_order() -> None:
    outbox, peers = Outbox(), Peers()
    sent: list[Message] = [heartbeat(2), append(2), heartbeat(3), append(2, 10)]
    for message in sent:
        outbox.add(message)
    assert outbox.flush(peers) == []
    assert peers.messages() == [(2, [sent[0], sent[1], sent[3]]), (3, [sent[2]])]


def test_what_was_flushed_is_not_sent_again() -> None:
    outbox, peers = Outbox(), Peers()
    outbox.add(heartbeat(2))
    outbox.flush(peers)
    outbox.flush(peers)
    assert len(peers.sent) == 1


def test_large_appends_are_split_into_payloads_near_the_aim() -> None:
    outbox, peers = Outbox(), Peers()
    sent = [append(2, MIB - 100, index) for index in range(1, 8)]
    for message in sent:
        outbox.add(message)
    outbox.flush(peers)
    assert [len(messages) for _, messages in peers.messages()] == [2, 2, 2, 1]
    assert all(len(payload) <= PAYLOAD_BYTES_AIM for _, payload in peers.sent)
    assert [m for _, messages in peers.messages() for m in messages] == sent


def test_an_append_beyond_the_aim_travels_alone() -> None:
    outbox, peers = Outbox(), Peers()
    for message in (heartbeat(2), append(2, 3 * MIB), append(2, 10, 2)):
        outbox.add(message)
    outbox.flush(peers)
    assert [len(messages) for _, messages in peers.messages()] == [1, 1, 1]


def test_a_peer_that_did_not_get_an_append_is_reported_once() -> None:
    outbox, peers = Outbox(), Peers(2)
    for message in (append(2, MIB), append(2, MIB, 2), append(2, MIB, 3), append(3, 10)):
        outbox.add(message)
    assert outbox.flush(peers) == [2]
    assert [node_id for node_id, _ in peers.sent] == [3]


def test_a_peer_that_only_missed_a_heartbeat_or_a_vote_is_not_reported() -> None:
    outbox, peers = Outbox(), Peers(2)
    outbox.add(heartbeat(2))
    outbox.add(RequestVote(sender=ME, to=2, term=1, last_log_index=1, last_log_term=1))
    assert outbox.flush(peers) == []


def test_after_a_drop_nothing_more_goes_to_that_peer_in_this_turn() -> None:
    """What follows a gap would only be rejected."""

    class OnlyTheFirst(Peers):
        def send(self, node_id: int, payload: bytes) -> bool:
            self.sent.append((node_id, payload))
            return len(self.sent) < 2

    outbox, peers = Outbox(), OnlyTheFirst()
    for index in range(1, 9):
        outbox.add(append(2, MIB, index))
    assert outbox.flush(peers) == [2]
    assert len(peers.sent) == 2


def test_the_replies_of_a_turn_to_one_client_are_one_message_in_order() -> None:
    replies = Replies()
    sent: list[tuple[bytes, list[bytes]]] = []
    for identity, frame in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3")):
        replies.add(identity, frame)
    for _ in range(2):
        replies.flush(lambda identity, frames: sent.append((identity, frames)))
    assert sent == [(b"a", [b"1", b"3"]), (b"b", [b"2"])]
