"""Snapshots on their way: whole or not at all, resumed after a cut, never from a stranger."""

import hashlib
import random
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
import zmq

from metastore.transport import limits
from metastore.transport.chunk_frames import (
    Declined,
    Done,
    FrameKind,
    Progress,
    decode_receiver_frame,
    decode_sender_frame,
    encode_body,
    encode_offer,
)
from metastore.transport.chunks import SnapshotReceiver
from metastore.transport.errors import BindFailed, Malformed
from metastore.transport.handshake import Header, encode_header

CLUSTER = 9
META = {"index": 7, "term": 2, "configuration": b"\x01\x02"}
CHUNK = limits.SNAPSHOT_CHUNK_BYTES
CONTENT = random.Random(1).randbytes(3 * CHUNK + 17)
DIGEST = hashlib.sha256(CONTENT).digest()
HEADER = encode_header(Header(CLUSTER, 2, 77, 5))
WAIT_S = 20


class HandSender:
    """The sender's side, frame by frame."""

    def __init__(self, raw: Any, address: str, header: bytes = HEADER) -> None:
        self.socket = raw(address)
        self.header = header

    def offer(self, transfer_id: int = 1, content: bytes = CONTENT, digest: bytes = DIGEST) -> None:
        self.say(encode_offer(transfer_id, len(content), digest, META))

    def chunk(self, number: int, transfer_id: int = 1, crc32: int | None = None) -> None:
        data = CONTENT[number * CHUNK : (number + 1) * CHUNK]
        check = zlib.crc32(data) if crc32 is None else crc32
        self.say(encode_body(FrameKind.CHUNK, transfer_id, number * CHUNK, check), data)

    def say(self, *frames: bytes) -> None:
        self.socket.send_multipart([self.header, *frames])

    def hear(self) -> Any:
        return decode_receiver_frame(self.socket.recv_multipart()[1:])


# The receiver, frame by frame


def test_every_chunk_is_confirmed_and_the_last_one_ends_it(receiving: Any, raw: Any) -> None:
    hand = HandSender(raw, receiving.server.address)
    hand.offer()
    assert hand.hear() == Progress(1, 0, True)
    for number in range(4):
        hand.chunk(number)
        assert hand.hear() == Progress(1, min((number + 1) * CHUNK, len(CONTENT)), False)
    assert hand.hear() == Done(1)
    hand.offer()  # as if Done had been lost
    assert hand.hear() == Done(1)
    assert receiving.arrived.qsize() == 1


def test_a_damaged_chunk_is_asked_for_again(receiving: Any, raw: Any) -> None:
    hand = HandSender(raw, receiving.server.address)
    hand.offer()
    hand.hear()
    hand.chunk(0, crc32=1)
    assert hand.hear() == Progress(1, 0, True)
    assert receiving.server.counters() == {"bad chunk": 1}
    hand.chunk(0)
    assert hand.hear() == Progress(1, CHUNK, False)


def test_a_gap_is_asked_for_once_and_a_repeated_chunk_is_ignored(receiving: Any, raw: Any) -> None:
    hand = HandSender(raw, receiving.server.address)
    hand.offer()
    hand.hear()
    hand.chunk(0)
    hand.hear()
    hand.chunk(2)
    hand.chunk(3)
    assert hand.hear() == Progress(1, CHUNK, True)
    hand.chunk(0)
    hand.chunk(1)
    assert hand.hear() == Progress(1, 2 * CHUNK, False)


def test_a_transfer_resumes_after_the_receiver_restarted(
    receiving: Any, open_receiver: Any, raw: Any
) -> None:
    hand = HandSender(raw, receiving.server.address)
    hand.offer()
    hand.hear()
    hand.chunk(0)
    hand.hear()
    receiving.server.close()
    again = open_receiver()
    hand = HandSender(raw, again.server.address)
    hand.offer(transfer_id=2)
    assert hand.hear() == Progress(2, CHUNK, True)
    for number in (1, 2, 3):
        hand.chunk(number, transfer_id=2)
        hand.hear()
    assert hand.hear() == Done(2)
    assert again.arrived.get(timeout=WAIT_S)[2].read_bytes() == CONTENT


def test_a_file_whose_digest_differs_is_never_handed_over(receiving: Any, raw: Any) -> None:
    hand = HandSender(raw, receiving.server.address)
    hand.offer(digest=bytes(32))
    hand.hear()
    for number in range(4):
        hand.chunk(number)
        hand.hear()
    assert hand.hear() == Declined(1, "the file's digest differs")
    assert receiving.arrived.empty()
    assert list(receiving.directory.iterdir()) == []


def test_more_bytes_than_offered_are_refused(receiving: Any, raw: Any) -> None:
    hand = HandSender(raw, receiving.server.address)
    hand.offer(content=CONTENT[:10])
    hand.hear()
    hand.chunk(0)
    assert hand.hear() == Progress(1, 0, True)


def test_a_newer_offer_takes_over_and_the_older_sender_is_told(receiving: Any, raw: Any) -> None:
    old = HandSender(raw, receiving.server.address)
    old.offer()
    old.hear()
    new = HandSender(raw, receiving.server.address, encode_header(Header(CLUSTER, 3, 77, 1)))
    new.offer(transfer_id=2)
    assert new.hear() == Progress(2, 0, True)
    assert old.hear() == Declined(1, "superseded")
    old.chunk(0)
    new.chunk(0, transfer_id=2)
    assert new.hear() == Progress(2, CHUNK, False)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (encode_header(Header(8, 2, 77, 5)), "stranger cluster"),
        (encode_header(Header(CLUSTER, 1, 77, 5)), "duplicate node"),
        (encode_header(Header(CLUSTER, 4, 77, 5)), "unknown node"),
        (encode_header(Header(CLUSTER, 2, 77, 5, to=3)), "wrong node"),
        (encode_header(Header(CLUSTER, 2, 77, 5), version=3), "other version"),
        (b"nonsense", "malformed"),
    ],
)
def test_an_offer_of_a_stranger_is_declined(
    header: bytes, reason: str, receiving: Any, raw: Any
) -> None:
    hand = HandSender(raw, receiving.server.address, header)
    hand.offer()
    assert hand.hear() == Declined(1, reason)
    assert receiving.server.counters()[reason] == 1


def test_who_is_let_in_follows_the_members(receiving: Any, raw: Any) -> None:
    hand = HandSender(raw, receiving.server.address)
    for known, removed, reason in (
        ({}, (), "unknown node"),
        ({2: 78}, (), "lost data"),
        ({2: 77}, (2,), "removed"),
    ):
        receiving.server.set_members(known, removed)
        hand.offer()
        assert hand.hear() == Declined(1, reason)
    receiving.server.set_members({2: 77}, ())
    hand.offer()
    assert hand.hear() == Progress(1, 0, True)


def test_an_offer_of_an_old_incarnation_is_declined(receiving: Any, raw: Any) -> None:
    new = HandSender(raw, receiving.server.address)
    new.offer()
    new.hear()
    old = HandSender(raw, receiving.server.address, encode_header(Header(CLUSTER, 2, 77, 4)))
    old.offer(transfer_id=2)
    assert old.hear() == Declined(2, "old incarnation")


def test_a_chunk_from_another_connection_is_not_taken(receiving: Any, raw: Any) -> None:
    hand = HandSender(raw, receiving.server.address)
    hand.offer()
    hand.hear()
    other = HandSender(raw, receiving.server.address)
    other.chunk(0)
    other.offer(transfer_id=1, digest=DIGEST)
    assert other.hear() == Progress(1, 0, True)


def test_a_full_disk_declines_and_the_next_offer_is_heard(
    receiving: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1))
    hand = HandSender(raw, receiving.server.address)
    hand.offer()
    answer = hand.hear()
    assert isinstance(answer, Declined)
    assert "no room" in answer.reason
    monkeypatch.undo()
    hand.offer()
    assert hand.hear() == Progress(1, 0, True)


def test_a_callback_that_raises_ends_the_transfer_and_not_the_thread(
    receiving: Any, raw: Any
) -> None:  # H7
    receiving.wanted = lambda sender, meta: bool(meta["no such key"])
    hand = HandSender(raw, receiving.server.address)
    hand.offer()
    assert isinstance(hand.hear(), Declined)
    receiving.wanted = lambda sender, meta: True
    hand.offer()
    assert hand.hear() == Progress(1, 0, True)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"\xc1"],
        [random.Random(1).randbytes(40)],
        [encode_body(FrameKind.CHUNK, 1, 0, 0)],
        [encode_body(FrameKind.CHUNK, 1, 0, 0), b""],
        [encode_body(FrameKind.CHUNK, 1, 0, "0"), b"x"],
        [encode_body(FrameKind.OFFER, 1, -1, DIGEST, b"\x80")],
        [encode_body(FrameKind.OFFER, 1, 1, b"short", b"\x80")],
        [encode_body(FrameKind.OFFER, 1, 1, DIGEST, b"\x90")],
        [encode_body(FrameKind.OFFER, 1, 1, DIGEST, b"\x81\x01\x01")],
        [encode_body(FrameKind.OFFER, 1, 1, DIGEST, b"x" * (limits.SNAPSHOT_META_BYTES_MAX + 1))],
        [encode_body(FrameKind.DONE, 1)],
        [encode_body(FrameKind.PROGRESS, 1, 0, True)],
    ],
)
def test_a_malformed_frame_is_counted_and_the_next_offer_is_heard(
    frames: list[bytes], receiving: Any, raw: Any
) -> None:  # H8
    with pytest.raises(Malformed):
        decode_sender_frame(frames)
    hand = HandSender(raw, receiving.server.address)
    hand.say(*frames)
    hand.offer()
    assert hand.hear() == Progress(1, 0, True)
    assert receiving.server.counters() == {"malformed": 1}


def test_a_meta_over_the_limit_is_not_sent() -> None:
    with pytest.raises(ValueError, match="meta over"):
        encode_offer(1, 1, DIGEST, {"x": bytes(limits.SNAPSHOT_META_BYTES_MAX)})


def test_left_over_whole_files_are_removed_at_the_start(
    open_receiver: Any, context: zmq.Context[Any], tmp_path: Path
) -> None:
    directory = tmp_path / "incoming"
    directory.mkdir()
    (directory / "whole-1").write_bytes(b"x")
    receiving = open_receiver()
    assert list(directory.iterdir()) == []
    receiving.server.close()
    receiving.server.close()
    context.term()  # would wait for a socket left open


def test_a_taken_port_is_a_bind_failure(
    receiving: Any, context: zmq.Context[Any], tmp_path: Path
) -> None:
    with pytest.raises(BindFailed):
        SnapshotReceiver(
            CLUSTER,
            3,
            77,
            1,
            receiving.server.address,
            tmp_path,
            lambda sender, meta: True,
            lambda sender, meta, path: None,
            lambda sender, meta, path: None,
            context,
            lambda error: None,
        )
