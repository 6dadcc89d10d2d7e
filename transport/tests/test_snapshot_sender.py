"""Sending snapshots: whole or with a reason, within the window, from where the receiver says."""

import contextlib
import os
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from metastore.transport import limits, snapshot_sender
from metastore.transport.chunk_frames import FrameKind, decode_sender_frame, encode_body
from metastore.transport.chunks import SnapshotSender
from metastore.transport.errors import BindFailed

META = {"index": 7, "term": 2, "configuration": b"\x01\x02"}
CHUNK = limits.SNAPSHOT_CHUNK_BYTES
CONTENT = os.urandom(3 * CHUNK + 17)
WAIT_S = 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def sender(context: zmq.Context[Any]) -> Iterator[SnapshotSender]:
    sender = SnapshotSender(9, 2, 77, 5, context)
    yield sender
    sender.close()


def send(sender: SnapshotSender, address: str, path: Path) -> "queue.Queue[tuple[bool, str]]":
    outcome: queue.Queue[tuple[bool, str]] = queue.Queue()
    sender.start(1, address, META, lambda: path, lambda ok, reason: outcome.put((ok, reason)))
    return outcome


@pytest.mark.parametrize("size", [0, 1, CHUNK, 40 * CHUNK + 1])
def test_a_file_arrives_whole_with_its_meta_and_its_sender(
    size: int, receiving: Any, sender: SnapshotSender, tmp_path: Path
) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    outcome = send(sender, receiving.server.address, tmp_path / "file")
    who, meta, path = receiving.arrived.get(timeout=WAIT_S)
    assert (who, meta, path.read_bytes()) == (2, META, content)
    assert outcome.get(timeout=WAIT_S) == (True, "")
    assert receiving.server.counters() == {"received": 1}


def test_a_transfer_waits_for_a_receiver_that_is_not_there_yet(
    open_receiver: Any, sender: SnapshotSender, source: Path, eventually: Any
) -> None:
    absent = open_receiver()
    absent.server.close()
    outcome = send(sender, absent.server.address, source)

    def open_or_none() -> Any:
        with contextlib.suppress(BindFailed):  # libzmq gives up a port in the background
            return open_receiver(absent.server.address)
        return None

    present = eventually(open_or_none)
    assert outcome.get(timeout=WAIT_S) == (True, "")
    assert present.arrived.get(timeout=WAIT_S)[2].read_bytes() == CONTENT


def test_a_second_transfer_to_the_same_peer_is_refused_while_one_runs(
    sender: SnapshotSender, source: Path
) -> None:
    first = send(sender, "tcp://127.0.0.1:1", source)
    second = send(sender, "tcp://127.0.0.1:1", source)
    assert second.get(timeout=WAIT_S) == (False, snapshot_sender.BUSY)
    sender.close()
    assert first.get(timeout=WAIT_S) == (False, "stopped")
    assert send(sender, "tcp://127.0.0.1:1", source).get(timeout=WAIT_S) == (False, "stopped")


def test_a_transfer_without_progress_fails(
    sender: SnapshotSender, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_STALL_MS", 1)
    ok, reason = send(sender, "tcp://127.0.0.1:1", source).get(timeout=WAIT_S)
    assert not ok
    assert "no progress at byte 0" in reason


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:1"])
def test_a_transfer_that_cannot_start_ends_with_a_reason(
    address: str, sender: SnapshotSender, tmp_path: Path
) -> None:
    ok, reason = send(sender, address, tmp_path / "no such file").get(timeout=WAIT_S)
    assert not ok
    assert reason


def test_an_unwanted_snapshot_is_declined(
    receiving: Any, sender: SnapshotSender, source: Path
) -> None:
    receiving.wanted = lambda sender, meta: meta["index"] > 7
    outcome = send(sender, receiving.server.address, source)
    assert outcome.get(timeout=WAIT_S) == (False, "declined: not wanted")


def test_a_snapshot_for_another_node_than_the_one_that_listens_is_declined(
    receiving: Any, sender: SnapshotSender, source: Path
) -> None:
    outcome: queue.Queue[tuple[bool, str]] = queue.Queue()
    address = receiving.server.address
    sender.start(3, address, META, lambda: source, lambda ok, reason: outcome.put((ok, reason)))
    assert outcome.get(timeout=WAIT_S) == (False, "declined: wrong node")


def test_the_sender_resumes_where_the_receiver_says(
    context: zmq.Context[Any], sender: SnapshotSender, source: Path
) -> None:
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.RCVTIMEO, WAIT_S * 1000)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    outcome = send(sender, f"tcp://127.0.0.1:{port}", source)
    identity, _, offer = router.recv_multipart()
    transfer_id = decode_sender_frame([offer])[0]
    answer = encode_body(FrameKind.PROGRESS, transfer_id, 2 * CHUNK, True)
    router.send_multipart([identity, b"", b"not a frame"])
    of_another = encode_body(FrameKind.DONE, transfer_id ^ 1)
    router.send_multipart([identity, b"", of_another])
    router.send_multipart([identity, b"", answer])
    frame = decode_sender_frame(router.recv_multipart()[2:])
    assert frame[1] == 2 * CHUNK
    assert frame[3] == CONTENT[2 * CHUNK : 3 * CHUNK]
    router.send_multipart([identity, b"", encode_body(FrameKind.DONE, transfer_id)])
    assert outcome.get(timeout=WAIT_S) == (True, "")


def test_the_sender_keeps_to_its_window(
    context: zmq.Context[Any], sender: SnapshotSender, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(4 * limits.SNAPSHOT_WINDOW_CHUNKS * CHUNK))
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.RCVTIMEO, WAIT_S * 1000)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    outcome = send(sender, f"tcp://127.0.0.1:{port}", tmp_path / "large")
    identity, _, offer = router.recv_multipart()
    transfer_id = decode_sender_frame([offer])[0]
    router.send_multipart([identity, b"", encode_body(FrameKind.PROGRESS, transfer_id, 0, True)])
    kinds: list[str] = []
    while not kinds or kinds[-1] == "Chunk":  # after silence comes the next offer
        kinds.append(type(decode_sender_frame(router.recv_multipart()[2:])).__name__)
    assert kinds == ["Chunk"] * limits.SNAPSHOT_WINDOW_CHUNKS + ["Offer"]
    sender.close()
    assert outcome.get(timeout=WAIT_S) == (False, "stopped")
