"""What the tests of watches share: a real store that is fed by hand, and a wire that can be full.

The wire stands where the clients' socket is; what arrives is kept per client, decoded.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metastore.engines.contract import LogRecord
from metastore.engines.memory.store import MemoryStore
from metastore.node.watching import Watching
from metastore.transport import watch_frames
from metastore.transport.clients import Delivery
from metastore.transport.envelope import Error, NodeFrame, decode_client_frame, decode_node_frame
from metastore.transport.schema import (
    Op,
    Operation,
    decode_results,
    encode_batch,
    encode_request,
)
from metastore.transport.watch_frames import (
    Canceled,
    Events,
    Watched,
    WatchEvent,
    decode_event_list,
)

PROGRESS_TICKS = 3
PLENTY = 1_000


class Wire:
    """`slow` clients have no room, `gone` ones are not connected."""

    def __init__(self) -> None:
        self.slow: set[bytes] = set()
        self.gone: set[bytes] = set()
        self.messages: list[tuple[bytes, Sequence[bytes]]] = []
        self.arrived: dict[bytes, list[NodeFrame]] = {}

    def reply(self, identity: bytes, frames: Sequence[bytes]) -> Delivery:
        if identity in self.gone:
            return Delivery.GONE
        if identity in self.slow:
            return Delivery.SLOW
        self.messages.append((identity, frames))
        self.arrived.setdefault(identity, []).extend(map(decode_node_frame, frames))
        return Delivery.SENT

    def take(self, identity: bytes) -> list[NodeFrame]:
        return self.arrived.pop(identity, [])


class Bench:
    """A store, its watches, and the clients' side of the wire."""

    def __init__(self, directory: Path) -> None:
        self.store = MemoryStore(directory, node_id=1)
        self.wire = Wire()
        self.watching = Watching(self.store, self.wire.reply, progress_ticks=PROGRESS_TICKS)

    def commit(self, *operations: Operation) -> None:
        """Each in an entry of its own, told to watches at once."""
        for operation in operations:
            commit(self.store, operation)
            self.watching.publish()

    def compact(self, revision: int = 0) -> None:
        self.commit((Op.COMPACT, revision or self.store.revision, True))

    def watch(
        self,
        request_id: int,
        key: bytes = b"k",
        range_end: bytes = b"",
        *,
        start: int = 0,
        flags: int = 0,
        credit: int = PLENTY,
        client: bytes = b"A",
    ) -> None:
        frame = watch_frames.encode_watch(request_id, key, range_end, start, flags, credit)
        self.ask(frame, client)

    def credit(self, request_id: int, count: int, client: bytes = b"A") -> None:
        self.ask(watch_frames.encode_credit(request_id, count), client)

    def cancel(self, request_id: int, client: bytes = b"A") -> None:
        self.ask(watch_frames.encode_cancel(request_id), client)

    def ask_progress(self, request_id: int, client: bytes = b"A") -> None:
        self.ask(watch_frames.encode_progress_request(request_id), client)

    def ask(self, frame: bytes, client: bytes) -> None:
        decoded: Any = decode_client_frame(frame)
        self.watching.on_frame(client, decoded)

    def flush(self) -> int:
        """Until nothing more is to be done at once; how many turns that took."""
        turns = 1
        while self.watching.flush():
            turns += 1
        return turns

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.watching.tick()

    def take(self, client: bytes = b"A") -> list[Any]:
        """What arrived since the last time, in plain words: see `said`."""
        return [said(frame) for frame in self.wire.take(client)]


def commit(store: MemoryStore, operation: Operation) -> None:
    data = encode_batch([encode_request([operation])])
    (applied,) = store.apply([LogRecord(1, store.last_applied + 1, 0, data)])
    (result,) = decode_results(applied.replies[0])
    assert result[0] == 0, result


def install(source: MemoryStore, target: MemoryStore, received: Path) -> None:
    """Brings the source's state to the target, as a snapshot."""
    done = threading.Event()
    meta = source.save_snapshot(lambda error: done.set())
    assert done.wait(30)
    received.write_bytes(source.export_snapshot(meta).read_bytes())
    target.prepare_snapshot(meta, received)
    target.install_snapshot(meta, received)


def said(frame: NodeFrame) -> Any:
    """("watched", id, revision), ("canceled", id, compact revision, reason), ("progress", id,
    revision), ("error", id) or ("events" | "fragment", id, revision, [event in words])."""
    match frame:
        case Watched():
            return ("watched", *frame)
        case Canceled():
            return ("canceled", *frame)
        case Error():
            return ("error", frame.request_id)
        case Events(request_id, revision, b"", _):
            return ("progress", request_id, revision)
        case Events(request_id, revision, data, is_fragment):
            events = [in_words(event) for event in decode_event_list(data)]
            return ("fragment" if is_fragment else "events", request_id, revision, events)
    raise TypeError(f"unexpected frame {frame}")


def in_words(event: WatchEvent) -> str:
    """ "k=v@3", "k gone@3", with a previous version "k=v@3 (was u)"."""
    (key, value, _, revision, version, _), previous = event
    what = f"{key.decode()}={value[:9].decode()}" if version else f"{key.decode()} gone"
    return f"{what}@{revision}" + (f" (was {previous[1].decode()})" if previous else "")
