"""One connection by itself: what waits to leave on it."""

import time
from typing import Any

from metastore.client.calls import Call
from metastore.client.connection import FRAMES_MAX, SILENCE_S_MAX, Connection
from metastore.transport import schema, watch_frames
from metastore.transport.envelope import ReadLevel

PUT = [schema.put(b"a", b"1")]


def test_a_call_that_gave_up_in_the_queue_does_not_leave(cluster: Any) -> None:
    node = cluster.leader
    connection = Connection(cluster.context, node.client_address)
    for request_id in (1, 2):
        connection.queue(request_id, Call(PUT, ReadLevel.LINEARIZABLE, time.monotonic() + 9))
    given_up = connection.waiting.pop(1)
    connection.send_queued()
    node.wait_for(lambda: len(node.requests) > 0)
    connection.close()
    assert not given_up.is_sent
    assert node.frames_of_messages == [1]


def test_a_message_holds_a_bounded_number_of_frames(cluster: Any) -> None:
    node = cluster.leader
    connection = Connection(cluster.context, node.client_address)
    for request_id in range(1, FRAMES_MAX + 2):
        connection.queue(request_id, Call(PUT, ReadLevel.LINEARIZABLE, time.monotonic() + 9))
    connection.send_queued()
    node.wait_for(lambda: len(node.requests) == FRAMES_MAX + 1)
    connection.close()
    assert node.frames_of_messages == [FRAMES_MAX, 1]


def test_a_frame_that_no_answer_is_owed_for_does_not_make_the_node_look_silent(
    cluster: Any,
) -> None:
    node = cluster.leader
    connection = Connection(cluster.context, node.client_address)
    connection.queue_notice(watch_frames.encode_credit(1, 8))
    connection.send_queued()
    node.wait_for(lambda: len(node.watch_frames) > 0)
    assert not connection.is_silent(time.monotonic() + 2 * SILENCE_S_MAX)
    connection.close()
