"""The inbox of the loop: nothing that arrives is lost, and its arrival wakes the poller."""

import os
import select
import threading

import pytest

from metastore.node.wake import WakeQueue


def is_readable(queue: WakeQueue[int], timeout_ms: int = 0) -> bool:
    poller = select.poll()  # not select(), which knows no descriptor above 1023
    poller.register(queue.fileno(), select.POLLIN)
    return bool(poller.poll(timeout_ms))


def test_an_arrival_makes_the_queue_readable_until_it_is_drained() -> None:
    queue: WakeQueue[int] = WakeQueue()
    assert not is_readable(queue)
    queue.put(1)
    queue.put(2)
    assert is_readable(queue)
    assert queue.drain() == [1, 2]
    assert not is_readable(queue)
    queue.close()


def test_draining_an_empty_queue_gives_nothing_and_does_not_wait() -> None:
    queue: WakeQueue[int] = WakeQueue()
    assert queue.drain() == []
    queue.close()


def test_an_item_whose_wake_up_was_already_read_is_taken_all_the_same() -> None:
    queue: WakeQueue[int] = WakeQueue()
    queue.put(1)
    os.eventfd_read(queue.fileno())
    assert queue.drain() == [1]
    queue.close()


def test_nothing_from_many_threads_is_lost_and_each_ones_order_stays() -> None:
    queue: WakeQueue[tuple[int, int]] = WakeQueue()
    counts = 500

    def write(name: int) -> None:
        for number in range(counts):
            queue.put((name, number))

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    taken: list[tuple[int, int]] = []
    while len(taken) < 4 * counts:
        assert is_readable(queue, 10_000), "something arrived and woke nobody"
        taken += queue.drain()
    for writer in writers:
        writer.join()
    for name in range(4):
        assert [number for who, number in taken if who == name] == list(range(counts))
    queue.close()


def test_what_arrives_after_closing_wakes_nobody_and_raises_nothing() -> None:
    queue: WakeQueue[int] = WakeQueue()
    fd = queue.fileno()
    queue.close()
    queue.close()
    queue.put(1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
