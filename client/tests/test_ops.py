"""Operations, comparisons and their results, as they are on the wire."""

from typing import Any

import pytest

import metastore.client
from metastore.client import (
    Client,
    Compacted,
    InvalidRequest,
    KeyValue,
    create_revision,
    lease_of,
    mod_revision,
    ops,
    value,
    version,
)
from metastore.client.results import (
    AlarmList,
    DeleteResult,
    Done,
    HashResult,
    KeepAlive,
    LeaseGrant,
    LeaseList,
    PutResult,
    RangeResult,
    Refused,
    TimeToLive,
    TxnResult,
    decode_result,
    raise_if_refused,
)
from metastore.transport import schema
from metastore.transport.schema import Code, CompareResult, CompareTarget, Flag, Op

KV = (b"a", b"1", 2, 3, 2, 0)


@pytest.mark.parametrize(
    ("comparison", "wire"),
    [
        (
            value("k") == "x",
            (CompareResult.EQUAL, CompareTarget.VALUE, b"k", b"", b"x"),
        ),
        (
            value("k", "l") != b"x",
            (CompareResult.NOT_EQUAL, CompareTarget.VALUE, b"k", b"l", b"x"),
        ),
        (
            version("k") > 0,
            (CompareResult.GREATER, CompareTarget.VERSION, b"k", b"", 0),
        ),
        (
            create_revision("k") < 9,
            (CompareResult.LESS, CompareTarget.CREATE, b"k", b"", 9),
        ),
        (
            mod_revision("k") == 9,
            (CompareResult.EQUAL, CompareTarget.MOD, b"k", b"", 9),
        ),
        (
            lease_of("k") == 9,
            (CompareResult.EQUAL, CompareTarget.LEASE, b"k", b"", 9),
        ),
    ],
)
def test_a_comparison_is_written_as_one(comparison: Any, wire: Any) -> None:
    assert comparison.wire == wire
    schema.decode_request(schema.encode_request([ops.txn(comparison)]))


def test_a_comparison_is_not_decided_here() -> None:
    with pytest.raises(TypeError, match="decided by the cluster"):
        bool(value("k") == b"x")


@pytest.mark.parametrize("make", [lambda: value("k") == 1, lambda: version("k") == b"1"])
def test_an_operand_of_the_wrong_kind_is_refused(make: Any) -> None:
    with pytest.raises(InvalidRequest, match="compared with"):
        make()


def test_a_transaction_takes_comparisons_only() -> None:
    with pytest.raises(InvalidRequest, match="compares with"):
        ops.txn([True])  # type: ignore[list-item]


def test_a_range_is_filtered_only_where_something_is_asked_for() -> None:
    plain = ops.range("a", "b", limit=3, revision=4, keys_only=True, no_count=True)
    assert plain == (Op.RANGE, b"a", b"b", 3, 4, Flag.KEYS_ONLY | Flag.NO_COUNT)
    assert ops.range("a", sort_order="descend", sort_target="mod", max_mod_revision=7) == (
        *(Op.FILTERED_RANGE, b"a", b"", 0, 0, 0),
        *(schema.SortOrder.DESCEND, schema.SortTarget.MOD),
        *(0, 7, 0, 0),
    )


@pytest.mark.parametrize("options", [{"sort_order": "up"}, {"sort_target": "lease"}])
def test_an_order_that_there_is_not_is_refused(options: Any) -> None:
    with pytest.raises(InvalidRequest, match="is none of"):
        ops.range("a", **{"sort_order": "ascend", **options})


def test_a_put_takes_a_lease_or_its_id_and_all_flags() -> None:
    class WithId:
        id = 9

    flags = Flag.PREV_KV | Flag.IGNORE_VALUE | Flag.IGNORE_LEASE
    put = ops.put("a", prev_kv=True, ignore_value=True, ignore_lease=True)
    assert put == (Op.PUT, b"a", b"", 0, flags)
    assert ops.put("a", "1", lease=WithId()) == ops.put("a", "1", lease=9)
    assert ops.put("a", "1", lease=9)[3] == 9


@pytest.mark.parametrize(
    ("operation", "result", "expected"),
    [
        (ops.put("a"), [0, 3, KV], PutResult(3, KeyValue(*KV))),
        (ops.delete("a"), [0, 3, 1, []], DeleteResult(3, 1, ())),
        (ops.get("a"), [0, 3, [KV], False, 1], RangeResult(3, (KeyValue(*KV),), False, 1)),
        (ops.compact(2), [0, 3], Done(3)),
        (ops.lease_grant(9), [0, 3, 5, 9], LeaseGrant(3, 5, 9)),
        (ops.lease_revoke(5), [0, 3], Done(3)),
        (ops.lease_keep_alive(5), [0, 3, 9], KeepAlive(3, 9)),
        (
            ops.lease_time_to_live(5, keys=True),
            [0, 3, 8, 9, (b"a",)],
            TimeToLive(3, 8, 9, (b"a",)),
        ),
        (ops.leases(), [0, 3, (5,)], LeaseList(3, (5,))),
        (ops.hash(), [0, 3, 77, -1, 3], HashResult(3, 77, -1, 3)),
        (ops.alarms(), [0, 3, (1,)], AlarmList(3, (1,))),
        (ops.get("a"), [3, "no"], Refused(3, "no")),
    ],
)
def test_every_result_has_its_value(operation: Any, result: Any, expected: Any) -> None:
    assert decode_result(operation, result) == expected
    schema.decode_request(schema.encode_request([operation]))


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_transactions_results_are_those_of_the_branch_taken(succeeded: bool) -> None:
    nested = ops.txn(version("b") == 0, [ops.put("b")], [])
    operation = ops.txn(version("a") == 0, [nested], [ops.get("a")])
    inner = [[0, 3, True, [[0, 3, None]]]] if succeeded else [[0, 3, [KV], False, 1]]
    result = decode_result(operation, [0, 3, succeeded, inner])
    expected: Any = (TxnResult(3, True, (PutResult(3, None),)),)
    if not succeeded:
        expected = (RangeResult(3, (KeyValue(*KV),), False, 1),)
    assert result == TxnResult(3, succeeded, expected)


def test_a_compacted_revision_has_an_error_of_its_own() -> None:
    with pytest.raises(Compacted) as caught:
        raise_if_refused(Refused(Code.OUT_OF_RANGE, schema.COMPACTED))
    assert caught.value.code == Code.OUT_OF_RANGE


def test_a_client_carries_out_transactions_and_looks_after_the_store(cluster: Any) -> None:
    cluster.answers.update(
        {
            Op.TXN: [0, 3, True, [[0, 3, None]]],
            Op.COMPACT: [0, 3],
            Op.HASH: [0, 3, 77, -1, 3],
            Op.ALARMS: [0, 3, [1]],
        }
    )
    with Client(cluster.leader.client_address) as client:
        assert client.txn(version("a") == 0, [ops.put("a", "1")]).succeeded
        with client.pipeline() as pipeline:
            future = pipeline.txn([version("a") == 0], [ops.put("a", "1")])
        assert future.result().results == (PutResult(3, None),)
        assert client.compact(2, physical=True) == 3
        assert client.hash(level="local").hash == 77
        assert client.alarms() == (1,)
    assert (Op.COMPACT, 2, True) in [operations[0] for _, operations in cluster.leader.requests]


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(metastore.client, name) is not None for name in metastore.client.__all__)
    with pytest.raises(AttributeError):
        _ = metastore.client.nothing
