"""A snapshot over the API: pieces that say how much is left, the hash as the last, nothing left."""

import asyncio
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.snapshot import conversion, snapshot_files
from metastore.api.snapshot.conversion import ConversionFailed, convert
from metastore.api.snapshot.snapshot_files import BLOB_BYTES, SnapshotFiles
from metastore.client.errors import PermissionDenied, Unavailable
from metastore.engines.contract import SnapshotMeta
from metastore.engines.files import Files
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.snapshot_format import SnapshotHeader, write_snapshot
from metastore.engines.state import State
from metastore.node.members.records import Membership
from metastore.node.offline.etcd.bolt_reader import BoltReader

REVISION = 40


def write_backup(path: Path, value_bytes: int = 100_000) -> None:
    state = State(MemoryRecords())
    state.keys.revision = REVISION
    versions = [
        [(b"%06d" % number, bytes(value_bytes), number, number, 1, 0)]
        for number in range(2, REVISION + 1)
    ]
    meta = SnapshotMeta(50, 3, Membership().encode())
    header = SnapshotHeader(meta, REVISION, 0)
    write_snapshot(path, Files(), header, versions, (), state.all_facts())


class OneNode:
    """A link to a node whose cluster is at `revision`; None: it has no leader."""

    client_address = "tcp://127.0.0.1:1"

    def __init__(self, revision: int | None = REVISION) -> None:
        self.revision = revision

    async def ask_as_gateway(self, operation: Any, **_: Any) -> Any:
        if self.revision is None:
            raise ApiError(Status.UNAVAILABLE, "etcdserver: request timed out")
        return (0, self.revision, (), False, 0)


def files_of(tmp_path: Path, link: Any = None) -> SnapshotFiles:
    context: Any = None
    return SnapshotFiles(link or OneNode(), context=context, folder=tmp_path)


Fetch = Callable[..., None]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What backups were asked for; a node hands them out."""
    found: list[dict[str, Any]] = []

    def fetch(context: Any, endpoint: str, target: Path, **options: Any) -> None:
        found.append({"endpoint": endpoint} | options)
        write_backup(target)

    monkeypatch.setattr(snapshot_files, "fetch_backup", fetch)
    return found


async def collect(files: SnapshotFiles) -> list[Any]:
    return [message async for message in files.messages(Caller())]


def test_the_pieces_make_an_etcd_snapshot_and_say_what_is_left(
    tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    messages = asyncio.run(collect(files_of(tmp_path)))
    *pieces, last = messages
    database = b"".join(piece.blob for piece in pieces)
    assert last.blob == hashlib.sha256(database).digest()
    assert last.remaining_bytes == 0
    left = len(database)
    for piece in pieces:
        left -= len(piece.blob)
        assert piece.remaining_bytes == left
        assert 0 < len(piece.blob) <= BLOB_BYTES
    assert len(pieces) > 10
    assert {message.version for message in messages} == {"3.5.0"}
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "database").write_bytes(database)
    with BoltReader(tmp_path / "database") as reader:
        assert len(list(reader.items(b"key"))) == REVISION - 1


@pytest.mark.parametrize(("revision", "wanted"), [(REVISION, REVISION), (None, 0)])
def test_all_that_was_answered_is_in_it_and_a_cluster_without_a_leader_has_snapshots_too(
    tmp_path: Path, asked: list[dict[str, Any]], revision: int | None, wanted: int
) -> None:
    asyncio.run(collect(files_of(tmp_path, OneNode(revision))))
    (request,) = asked
    assert request["revision_min"] == wanted
    assert request["endpoint"] == OneNode.client_address


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PermissionDenied("not for this key"), Status.PERMISSION_DENIED),
        (Unavailable("2 backups are under way"), Status.UNAVAILABLE),
        (OSError(28, "No space left on device"), Status.UNKNOWN),
    ],
)
def test_what_goes_wrong_with_the_backup_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: Status
) -> None:
    def fetch(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(snapshot_files, "fetch_backup", fetch)
    with pytest.raises(ApiError) as caught:
        asyncio.run(collect(files_of(tmp_path)))
    assert caught.value.code == status
    assert str(error.args[-1]) in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_backup_that_cannot_be_converted_is_told_in_the_commands_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        snapshot_files, "fetch_backup", lambda c, e, target, **_: target.write_bytes(b"no backup")
    )
    with pytest.raises(ApiError, match=r"nothing was converted: .* the file ends too early"):
        asyncio.run(collect(files_of(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_leaves_ends_the_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = threading.Event(), threading.Event()

    def fetch(context: Any, endpoint: str, target: Path, *, progress: Any, **_: Any) -> None:
        began.set()
        try:
            while True:
                progress(0, 0)
        finally:
            ended.set()

    monkeypatch.setattr(snapshot_files, "fetch_backup", fetch)

    async def scenario() -> None:
        task = asyncio.ensure_future(collect(files_of(tmp_path)))
        await asyncio.to_thread(began.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, 20)

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_leaves_between_two_pieces_closes_the_file_and_gives_its_place(
    tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    async def scenario() -> None:
        files = files_of(tmp_path)
        for _ in range(snapshot_files.AT_ONCE_MAX + 1):
            messages = files.messages(Caller())
            async for _ in messages:
                break
            await messages.aclose()  # type: ignore[attr-defined]
        assert len(asked) == snapshot_files.AT_ONCE_MAX + 1

    asyncio.run(scenario())


def test_no_more_than_two_are_made_at_a_time(tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        files = files_of(tmp_path)
        under_way = [files.messages(Caller()) for _ in range(snapshot_files.AT_ONCE_MAX)]
        for messages in under_way:
            await anext(messages)
        third = asyncio.ensure_future(collect(files))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(asked) == snapshot_files.AT_ONCE_MAX
        await under_way[0].aclose()  # type: ignore[attr-defined]
        assert len(await third) > 10
        await under_way[1].aclose()  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_a_conversion_that_is_cancelled_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "COMMAND", ("-c", "import time; time.sleep(600)"))
    started: list[Any] = []
    create = asyncio.create_subprocess_exec

    async def noting(*arguments: Any, **options: Any) -> Any:
        started.append(await create(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noting)

    async def scenario() -> None:
        task = asyncio.ensure_future(convert(tmp_path / "backup", tmp_path / "snapshot"))
        while not started:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert started[0].returncode is not None

    asyncio.run(scenario())


def test_a_conversion_that_says_nothing_is_told_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "COMMAND", ("-c", "raise SystemExit(9)"))
    with pytest.raises(ConversionFailed, match="ended with 9"):
        asyncio.run(convert(tmp_path / "backup", tmp_path / "snapshot"))
