"""Fetching a backup from a scripted node: whole under its name, or nothing at all."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from fake_cluster import encrypt

from metastore.client.backups import BackupFacts, fetch_backup
from metastore.client.errors import PermissionDenied, Unavailable
from metastore.client.security import OTHER_KEY, REFUSED_KEY, ClientSecurity
from metastore.transport import backup_frames, envelope
from metastore.transport.backup_frames import BackupRequest, Fetch
from metastore.transport.envelope import ErrorCode
from metastore.transport.limits import BACKUP_PIECE_BYTES_MAX
from metastore.transport.security import Keys, new_keys
from metastore.transport.zap import ZapHandler

DATA = bytes(range(256)) * 2500  # three pieces
WAIT_S = 10.0

Answer = Callable[[Any], bytes | None]


class BackupNode:
    """A ROUTER in a thread. `on_backup` and `on_fetch` say what it answers; None: nothing."""

    def __init__(self, context: "zmq.Context[Any]", keys: Keys | None = None) -> None:
        self.data = DATA
        self.revisions = [7]  # of the backups that are asked for; the last one stays
        self.fetches: list[Fetch] = []
        self.backups_count = 0
        self.on_backup: Answer = self.make
        self.on_fetch: Answer = self.piece
        self._router = context.socket(zmq.ROUTER)
        self._router.linger = 0
        if keys is not None:
            encrypt(self._router, keys)
        port = self._router.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{port}"
        self._stop = context.socket(zmq.PAIR)
        self._stop.bind(f"inproc://stop-{port}")
        self._stopping = context.socket(zmq.PAIR)
        self._stopping.connect(f"inproc://stop-{port}")
        self.released = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def make(self, request: BackupRequest) -> bytes:
        self.backups_count += 1
        revision = self.revisions.pop(0) if len(self.revisions) > 1 else self.revisions[0]
        digest = hashlib.sha256(DATA).digest()
        return backup_frames.encode_backup_ready(request.request_id, len(DATA), revision, 3, digest)

    def piece(self, fetch: Fetch) -> bytes:
        if fetch.at >= len(DATA):
            self.released.set()
        data = self.data[fetch.at : fetch.at + fetch.length]
        return backup_frames.encode_fetched(fetch.request_id, data)

    def close(self) -> None:
        self._stop.send(b"")
        self._thread.join(WAIT_S)
        for socket in (self._stop, self._stopping, self._router):
            socket.close(0)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._stopping, zmq.POLLIN)
        while True:
            if self._stopping in dict(poller.poll()):
                return
            identity, *frames = self._router.recv_multipart()
            for data in frames:
                answer = self._answer(envelope.decode_client_frame(data))
                if answer is not None:
                    self._router.send_multipart([identity, answer])

    def _answer(self, frame: Any) -> bytes | None:
        if isinstance(frame, envelope.Hello):
            return envelope.encode_welcome(frame.request_id, 1, 1, 1, [])
        if isinstance(frame, BackupRequest):
            return self.on_backup(frame)
        self.fetches.append(frame)
        return self.on_fetch(frame)


@pytest.fixture
def node() -> Iterator[BackupNode]:
    with zmq.Context() as context:
        made = BackupNode(context)
        yield made
        made.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "backup").write_bytes(b"the one before")
    return tmp_path / "backup"


def fetch(node: BackupNode, target: Path, **options: Any) -> BackupFacts:
    given: dict[str, Any] = {"check": lambda path: None, "silence_s": WAIT_S, "patience_s": WAIT_S}
    given |= options
    return fetch_backup(zmq.Context.instance(), node.address, target, **given)


def nothing_has_changed(target: Path) -> bool:
    return target.read_bytes() == b"the one before" and list(target.parent.iterdir()) == [target]


def test_a_backup_gets_its_name_whole_and_checked(node: BackupNode, target: Path) -> None:
    checked: list[tuple[str, bytes]] = []
    shown: list[tuple[int, int]] = []

    def check(path: Path) -> None:
        checked.append((target.read_bytes().decode(), path.read_bytes()))

    facts = fetch(node, target, check=check, progress=lambda *done: shown.append(done))
    assert (facts.revision, facts.snapshot_index, facts.size_bytes) == (7, 3, len(DATA))
    assert facts.sha256 == hashlib.sha256(DATA).digest()
    assert target.read_bytes() == DATA
    assert checked == [("the one before", DATA)], "under another name until it was read back"
    assert shown[-1] == (len(DATA), len(DATA))
    assert list(target.parent.iterdir()) == [target]


def test_the_node_is_told_when_it_may_drop_the_backup(node: BackupNode, target: Path) -> None:
    fetch(node, target)
    assert node.released.wait(WAIT_S)
    assert [piece.at for piece in node.fetches] == [
        *range(0, len(DATA), BACKUP_PIECE_BYTES_MAX),
        len(DATA),
    ]


def test_a_changed_byte_on_the_way_is_found(node: BackupNode, target: Path) -> None:
    node.data = DATA[:-1] + b"?"
    with pytest.raises(Unavailable, match="SHA-256 differs"):
        fetch(node, target)
    assert nothing_has_changed(target)


def test_a_file_that_does_not_pass_its_check_gets_no_name(node: BackupNode, target: Path) -> None:
    def check(path: Path) -> None:
        raise Unavailable("not whole")

    with pytest.raises(Unavailable, match="not whole"):
        fetch(node, target, check=check)
    assert nothing_has_changed(target)


def test_a_piece_that_is_too_short_is_found(node: BackupNode, target: Path) -> None:
    node.data = DATA[:-10]
    with pytest.raises(Unavailable, match="a piece of another size"):
        fetch(node, target)
    assert nothing_has_changed(target)


def test_a_node_that_dropped_the_backup_ends_it(node: BackupNode, target: Path) -> None:
    node.on_fetch = lambda piece: envelope.encode_error(
        piece.request_id, ErrorCode.INVALID, "there is no backup 1"
    )
    with pytest.raises(Unavailable, match="there is no backup 1"):
        fetch(node, target)
    assert nothing_has_changed(target)


def test_a_node_that_falls_silent_is_given_up(node: BackupNode, target: Path) -> None:
    node.on_fetch = lambda piece: None
    with pytest.raises(Unavailable, match="does not answer"):
        fetch(node, target, silence_s=0.1)
    assert nothing_has_changed(target)


def test_a_node_at_work_is_waited_for_while_it_lives(node: BackupNode, target: Path) -> None:
    node.on_backup = lambda request: None
    with pytest.raises(Unavailable, match="has not made the backup in time"):
        fetch(node, target, patience_s=0.1)
    assert nothing_has_changed(target)


def test_nobody_at_the_address_is_given_up(target: Path, unused_address: str) -> None:
    with pytest.raises(Unavailable, match=unused_address):
        fetch_backup(
            zmq.Context.instance(), unused_address, target, check=lambda path: None, silence_s=0.1
        )
    assert nothing_has_changed(target)


def test_a_node_that_is_behind_is_asked_again(node: BackupNode, target: Path) -> None:
    node.revisions = [5, 6, 8]
    assert fetch(node, target, revision_min=7).revision == 8
    assert node.backups_count == 3
    dropped = [piece.backup_id for piece in node.fetches if piece.at == len(DATA)]
    assert len(dropped) >= 2, "those that were too old may be dropped at once"


def test_a_node_that_stays_behind_is_given_up(node: BackupNode, target: Path) -> None:
    with pytest.raises(Unavailable, match="is behind: revision 7 of 9"):
        fetch(node, target, revision_min=9, patience_s=0.1)
    assert nothing_has_changed(target)


def test_a_node_without_a_free_hand_is_asked_again(node: BackupNode, target: Path) -> None:
    def refuse_once(request: BackupRequest) -> bytes:
        node.on_backup = node.make
        text = "2 backups of this node are under way"
        return envelope.encode_error(request.request_id, ErrorCode.UNAVAILABLE, text)

    node.on_backup = refuse_once
    assert fetch(node, target).revision == 7


def test_the_file_is_durable_before_its_name_and_the_name_at_the_end(
    node: BackupNode, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bytes]] = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((path.name, target.read_bytes()[:14]))

    monkeypatch.setattr(os, "fsync", fsync)
    fetch(node, target)
    assert synced == [
        ("backup.unfinished", b"the one before"),
        (target.parent.name, DATA[:14]),
    ]


SERVER, OURS = new_keys(), new_keys()


@pytest.fixture
def keyed() -> Iterator[BackupNode]:
    """Lets in only us."""
    with zmq.Context() as context:
        allow = {OURS.public: ""}
        zap = ZapHandler(context, lambda domain, key: allow.get(key, "nobody"), print)
        made = BackupNode(context, SERVER)
        yield made
        made.close()
        zap.close()


def test_the_key_of_the_node_is_found_among_several(keyed: BackupNode, target: Path) -> None:
    security = ClientSecurity(OURS, [new_keys().public, SERVER.public])
    assert fetch(keyed, target, security=security).revision == 7
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    ("ours", "server_key", "reason"),
    [(new_keys(), SERVER, REFUSED_KEY), (OURS, new_keys(), OTHER_KEY)],
)
def test_who_is_not_let_in_has_no_backup(
    keyed: BackupNode, target: Path, ours: Keys, server_key: Keys, reason: str
) -> None:
    with pytest.raises(Unavailable) as refused:
        fetch(keyed, target, security=ClientSecurity(ours, [server_key.public]))
    assert str(refused.value) == f"{keyed.address}: {reason}"
    assert nothing_has_changed(target)


def test_who_may_not_have_a_backup_hears_so(node: BackupNode, target: Path) -> None:
    node.on_backup = lambda request: envelope.encode_error(
        request.request_id, ErrorCode.PERMISSION_DENIED, "this takes the role admin"
    )
    with pytest.raises(PermissionDenied, match="this takes the role admin"):
        fetch(node, target)
    assert nothing_has_changed(target)
