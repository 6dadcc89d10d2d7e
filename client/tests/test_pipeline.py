"""Many requests in flight, and many threads on one client."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from metastore.client import Client, InvalidRequest, OutcomeUnknown, Unavailable, driver
from metastore.transport import schema

WAIT_S = 10.0


def test_a_pipeline_keeps_order_and_gives_every_future_its_own_result(cluster: Any) -> None:
    with Client(cluster.leader.client_address) as client:
        with client.pipeline(window=16) as pipeline:
            futures = [pipeline.put(f"{number:03}", "v") for number in range(200)]
        assert all(future.is_done() for future in futures)
        assert [future.result().revision for future in futures] == list(range(2, 202))
    assert [operation[1] for operation in cluster.applied] == [b"%03d" % n for n in range(200)]


def test_what_is_queued_leaves_as_one_message(cluster: Any) -> None:
    with Client(cluster.leader.client_address) as client:
        client.put("a", "1")
        with client.pipeline(window=64) as pipeline:
            for number in range(16):
                pipeline.put(str(number), "v")
    assert max(cluster.leader.frames_of_messages) == 16


def test_a_full_window_holds_the_caller_back(cluster: Any) -> None:
    node = cluster.leader
    node.default_act = "hold"

    def fill() -> None:
        with client.pipeline(window=4) as pipeline:
            for number in range(9):
                pipeline.put(str(number), "v")

    with Client(node.client_address) as client:
        filler = threading.Thread(target=fill)
        filler.start()
        node.wait_for(lambda: len(node.requests) == 4)
        node.default_act = ""
        received_before_the_first_answer = len(node.requests)
        node.release()
        filler.join(WAIT_S)
        assert not filler.is_alive()
    assert received_before_the_first_answer == 4
    assert len(cluster.applied) == 9


def test_futures_of_one_pipeline_fail_each_for_itself(cluster: Any) -> None:
    cluster.leader.script.extend(["serve", "outcome_unknown", "invalid", "serve"])
    with (
        Client(cluster.leader.client_address, use_sessions=False) as client,
        client.pipeline() as pipeline,
    ):
        futures = [pipeline.put(str(number), "v") for number in range(4)]
        kinds = [type(future.exception()) for future in futures]
    assert kinds == [type(None), OutcomeUnknown, InvalidRequest, type(None)]


def test_a_broken_connection_ends_the_writes_under_way_and_repeats_the_reads(cluster: Any) -> None:
    cluster.leader.script.extend(["ignore", "ignore", "hang_up"])
    with Client(cluster.leader.client_address, use_sessions=False) as client:
        client.known_nodes()
        pipeline = client.pipeline()
        write, read, last = pipeline.put("a", "1"), pipeline.get("a"), pipeline.delete("a")
        assert isinstance(write.exception(), OutcomeUnknown)
        assert isinstance(last.exception(), OutcomeUnknown)
        assert read.result() is None


def test_a_result_can_be_waited_for_in_parts(cluster: Any) -> None:
    node = cluster.leader
    node.script.append("hold")
    with Client(node.client_address) as client:
        future = client.pipeline().batch([schema.put(b"a", b"1")])
        with pytest.raises(TimeoutError):
            future.result(timeout_s=0.01)
        node_thread = threading.Thread(
            target=lambda: (node.wait_for(lambda: len(node.held) == 1), node.release())
        )
        node_thread.start()
        assert len(future.result()) == 1
        node_thread.join(WAIT_S)


def test_a_window_of_nothing_is_refused(cluster: Any) -> None:
    with Client(cluster.leader.client_address) as client, pytest.raises(InvalidRequest):
        client.pipeline(window=0)


def test_threads_share_a_client(cluster: Any) -> None:
    def work(worker: int) -> None:
        for number in range(25):
            key = f"{worker}/{number}"
            client.put(key, key)
            found = client.get(key)
            assert found is not None
            assert found.value == key.encode()

    with Client(cluster.leader.client_address) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(cluster.applied) == 200


def test_a_thread_that_waits_in_vain_does_not_hold_up_the_others(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "SWEEP_S", 60.0)  # so that only the wake can end its polling
    node = cluster.leader
    node.script.append("hold")
    with Client(node.client_address, timeout_s=WAIT_S) as client, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.get, "slow")
        node.wait_for(lambda: len(node.held) == 1)
        client.put("a", "1")
        assert not slow.done()
        node.release()
        assert slow.result(WAIT_S) is None


def test_closing_ends_the_calls_of_other_threads(cluster: Any) -> None:
    node = cluster.leader
    node.default_act = "hold"
    client = Client(node.client_address, timeout_s=60)
    with ThreadPoolExecutor(2) as pool:
        write = pool.submit(client.put, "a", "1")
        read = pool.submit(client.get, "a")
        node.wait_for(lambda: len(node.held) == 2)
        client.close()
        assert isinstance(write.exception(WAIT_S), OutcomeUnknown)
        assert isinstance(read.exception(WAIT_S), Unavailable)
