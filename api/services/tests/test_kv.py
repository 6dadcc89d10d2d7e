"""The KV service against the real state machine; the wire is not here."""

from typing import Any

import pytest
from engine_link import CALLER, EngineLink, fill, header, play

from metastore.api.calls import ApiError
from metastore.api.failures import TOO_LARGE
from metastore.api.protocol.messages import mvcc, rpc
from metastore.api.services.kv import Kv
from metastore.api.services.translation import MESSAGE_BYTES_MAX
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Op


def put(key: bytes, value: bytes = b"", **options: Any) -> Any:
    return rpc.PutRequest(key=key, value=value, **options)


def test_a_put_answers_with_the_header_and_what_was_there_if_asked() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        assert await service.put(put(b"a", b"1"), CALLER) == rpc.PutResponse(header=header(2))
        reply = await service.put(put(b"a", b"2", prev_kv=True), CALLER)
        before = mvcc.KeyValue(key=b"a", value=b"1", create_revision=2, mod_revision=2, version=1)
        assert reply == rpc.PutResponse(header=header(3), prev_kv=before)
        assert (await service.put(put(b"b", prev_kv=True), CALLER)).HasField("prev_kv") is False

    play(Kv, body)


def test_a_put_with_a_lease_that_is_not_there_is_not_found() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        with pytest.raises(ApiError) as caught:
            await service.put(put(b"a", lease=9), CALLER)
        assert (caught.value.code, caught.value.message) == (5, schema.LEASE_NOT_FOUND)

    play(Kv, body)


def test_a_delete_counts_and_shows_what_is_gone() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 3)
        request = rpc.DeleteRangeRequest(key=b"k", range_end=b"l", prev_kv=True)
        reply = await service.delete_range(request, CALLER)
        assert (reply.header, reply.deleted) == (header(5), 3)
        assert [kv.key for kv in reply.prev_kvs] == [b"k000", b"k001", b"k002"]
        assert await service.delete_range(request, CALLER) == rpc.DeleteRangeResponse(
            header=header(5)
        )

    play(Kv, body)


def test_old_is_good_enough_for_a_serializable_read_only() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        await service.range(rpc.RangeRequest(key=b"a", serializable=True), CALLER)
        await service.range(rpc.RangeRequest(key=b"a"), CALLER)
        await service.range(rpc.RangeRequest(key=b"k", range_end=b"l", serializable=True), CALLER)
        read = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a", serializable=True))
        await service.txn(rpc.TxnRequest(success=[read]), CALLER)
        write = rpc.RequestOp(request_put=put(b"a"))
        await service.txn(rpc.TxnRequest(success=[read, write]), CALLER)
        local, newest = ReadLevel.LOCAL, ReadLevel.LINEARIZABLE
        assert [level for _, _, level in link.asked] == [local, newest, local, local, newest]

    play(Kv, body)


def test_headers_inside_a_transaction_hold_a_revision_and_of_nested_ones_nothing() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        inner = rpc.TxnRequest(success=[rpc.RequestOp(request_put=put(b"b", b"1"))])
        request = rpc.TxnRequest(
            success=[
                rpc.RequestOp(request_put=put(b"a", b"1")),
                rpc.RequestOp(request_txn=inner),
                rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"z")),
                rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a", keys_only=True)),
            ]
        )
        reply = await service.txn(request, CALLER)
        assert (reply.header, reply.succeeded) == (header(2), True)
        at_two = rpc.ResponseHeader(revision=2)
        written, nested, deleted, read = reply.responses
        assert written == rpc.ResponseOp(response_put=rpc.PutResponse(header=at_two))
        assert nested.response_txn == rpc.TxnResponse(
            header=rpc.ResponseHeader(),
            succeeded=True,
            responses=[rpc.ResponseOp(response_put=rpc.PutResponse(header=at_two))],
        )
        assert nested.response_txn.HasField("header")
        assert deleted.response_delete_range == rpc.DeleteRangeResponse(header=at_two)
        assert (read.response_range.header, read.response_range.count) == (at_two, 1)
        assert [kv.key for kv in read.response_range.kvs] == [b"a"]

    play(Kv, body)


def test_a_transaction_answers_what_its_failed_branch_did() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        request = rpc.TxnRequest(
            compare=[rpc.Compare(key=b"a", target=0, version=5)],
            success=[rpc.RequestOp(request_put=put(b"a"))],
            failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a"))],
        )
        reply = await service.txn(request, CALLER)
        assert not reply.succeeded
        assert reply.responses[0].WhichOneof("response") == "response_range"

    play(Kv, body)


@pytest.mark.parametrize(
    ("result", "target", "is_there", "expected"),
    [
        (7, 0, True, True),
        (7, 0, False, True),
        (7, 3, True, True),
        (7, 3, False, False),
        (0, 9, False, True),
        (1, 9, True, False),
        (3, 9, True, False),
        (7, 9, False, True),
    ],
)
def test_comparisons_without_a_name_are_taken_as_etcd_takes_them(
    result: int, target: int, is_there: bool, expected: bool
) -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        if is_there:
            link.apply(schema.put(b"a", b""))
        comparison = rpc.Compare(key=b"a", result=result, target=target, version=99)
        reply = await service.txn(rpc.TxnRequest(compare=[comparison]), CALLER)
        assert reply.succeeded is expected

    play(Kv, body)


def test_a_transaction_that_writes_too_much_is_refused_and_one_that_reads_is_not() -> None:
    half = bytes(MESSAGE_BYTES_MAX // 2)

    async def body(link: EngineLink, service: Kv) -> None:
        writes = [rpc.RequestOp(request_put=put(key, half)) for key in (b"a", b"b")]
        with pytest.raises(ApiError) as caught:
            await service.txn(rpc.TxnRequest(success=writes), CALLER)
        assert caught.value.message == TOO_LARGE
        reads = [
            rpc.RequestOp(request_range=rpc.RangeRequest(key=key + half)) for key in (b"a", b"b")
        ]
        assert (await service.txn(rpc.TxnRequest(success=reads), CALLER)).succeeded

    play(Kv, body)


def test_a_compaction_answers_at_the_newest_revision() -> None:
    async def body(link: EngineLink, service: Kv) -> None:
        fill(link, 5)
        request = rpc.CompactionRequest(revision=3, physical=True)
        assert await service.compact(request, CALLER) == rpc.CompactionResponse(header=header(6))
        assert link.asked[-1][1] == (Op.COMPACT, 3, True)

    play(Kv, body)
