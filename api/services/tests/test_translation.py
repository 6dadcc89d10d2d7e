"""What is found in a request before anybody is asked, and what becomes of the rest."""

from typing import Any

import pytest

from metastore.api.calls import ApiError, Status
from metastore.api.failures import TOO_LARGE
from metastore.api.protocol.messages import rpc
from metastore.api.services import translation
from metastore.api.services.translation import to_delete_range, to_put, to_range, to_txn
from metastore.transport import schema
from metastore.transport.schema import CompareResult, CompareTarget, SortOrder, SortTarget

PUT = rpc.RequestOp(request_put=rpc.PutRequest(key=b"k", value=b"v"))


def nested(*parts: Any) -> Any:
    return rpc.RequestOp(request_txn=rpc.TxnRequest(success=parts))


def refused(translate: Any, request: Any) -> str:
    with pytest.raises(ApiError) as caught:
        translate(request)
    assert caught.value.code is Status.INVALID_ARGUMENT
    return caught.value.message


def put_of(total_bytes: int, **options: Any) -> Any:
    """A put whose message has so many bytes."""
    request = rpc.PutRequest(key=b"k", value=bytes(total_bytes - 100), **options)
    request.value += bytes(total_bytes - request.ByteSize())
    assert request.ByteSize() == total_bytes
    return request


def test_a_put_is_what_the_schema_makes_of_it() -> None:
    request = rpc.PutRequest(key=b"k", value=b"v", lease=7, prev_kv=True)
    assert to_put(request) == schema.put(b"k", b"v", lease=7, prev_kv=True)
    assert to_put(rpc.PutRequest(key=b"k", ignore_value=True, ignore_lease=True)) == schema.put(
        b"k", b"", ignore_value=True, ignore_lease=True
    )


def test_a_delete_is_what_the_schema_makes_of_it() -> None:
    request = rpc.DeleteRangeRequest(key=b"k", range_end=b"l", prev_kv=True)
    assert to_delete_range(request) == schema.delete_range(b"k", b"l", prev_kv=True)


def test_a_range_without_order_and_bounds_is_a_plain_one() -> None:
    request = rpc.RangeRequest(
        key=b"k", range_end=b"l", limit=5, revision=9, keys_only=True, count_only=True
    )
    assert to_range(request) == schema.range_(
        b"k", b"l", limit=5, revision=9, keys_only=True, count_only=True
    )


@pytest.mark.parametrize(
    "options",
    [
        {"sort_order": SortOrder.DESCEND},
        {"sort_target": SortTarget.MOD},
        {"min_mod_revision": 2},
        {"max_mod_revision": 2},
        {"min_create_revision": 2},
        {"max_create_revision": 2},
    ],
    ids=lambda options: next(iter(options)),
)
def test_each_option_that_sorts_or_filters_gets_through(options: dict[str, int]) -> None:
    request = rpc.RangeRequest(key=b"k", **{name: int(value) for name, value in options.items()})
    assert to_range(request) == schema.filtered_range(schema.range_(b"k"), **options)


@pytest.mark.parametrize("option", ["sort_order", "sort_target"])
@pytest.mark.parametrize("value", [-1, 9])
def test_a_sort_option_that_nobody_knows_is_refused(option: str, value: int) -> None:
    request = rpc.RangeRequest(key=b"k", **{option: value})
    assert refused(to_range, request) == schema.INVALID_SORT_OPTION
    inside = rpc.TxnRequest(failure=[rpc.RequestOp(request_range=request)])
    assert refused(to_txn, inside) == schema.INVALID_SORT_OPTION


@pytest.mark.parametrize(
    ("translate", "request_class"),
    [
        (to_put, rpc.PutRequest),
        (to_range, rpc.RangeRequest),
        (to_delete_range, rpc.DeleteRangeRequest),
    ],
)
def test_a_key_must_be_given(translate: Any, request_class: Any) -> None:
    assert refused(translate, request_class()) == schema.KEY_NOT_PROVIDED


def test_a_comparison_must_have_a_key() -> None:
    assert refused(to_txn, rpc.TxnRequest(compare=[rpc.Compare()])) == schema.KEY_NOT_PROVIDED


def test_what_a_put_ignores_must_not_be_given() -> None:
    put = rpc.PutRequest(key=b"k", value=b"v", lease=1, ignore_value=True, ignore_lease=True)
    assert refused(to_put, put) == schema.VALUE_PROVIDED
    put.value = b""
    assert refused(to_put, put) == schema.LEASE_PROVIDED


def test_an_operation_that_is_none_is_refused_as_etcd_does() -> None:
    request = rpc.TxnRequest(success=[rpc.RequestOp()])
    assert refused(to_txn, request) == schema.KEY_NOT_FOUND


def test_the_largest_put_is_let_through_and_one_byte_more_is_not() -> None:
    # A real etcd draws the line here (integration/test_etcd_kv.py asks it).
    largest = translation.MESSAGE_BYTES_MAX
    assert to_put(put_of(largest))[1] == b"k"
    assert to_put(put_of(largest, lease=1 << 60, prev_kv=True))[3] == 1 << 60
    assert refused(to_put, put_of(largest + 1)) == TOO_LARGE
    assert refused(to_put, put_of(largest + 1, lease=1 << 60, prev_kv=True)) == TOO_LARGE


def test_a_delete_of_a_key_that_is_too_large_is_refused() -> None:
    request = rpc.DeleteRangeRequest(key=bytes(translation.MESSAGE_BYTES_MAX))
    assert refused(to_delete_range, request) == TOO_LARGE


def test_the_largest_put_fits_a_request_to_the_node_with_all_its_headers() -> None:
    put = to_put(put_of(translation.MESSAGE_BYTES_MAX))
    as_somebody = (17, "u" * 1000, 1 << 62)
    assert len(schema.encode_request([as_somebody, put])) + 100 < schema.REQUEST_BYTES_MAX


def test_128_operations_are_allowed_in_each_list_and_129_are_not() -> None:
    compare = rpc.Compare(key=b"k")
    full = rpc.TxnRequest(compare=[compare] * 128, success=[PUT] * 128, failure=[PUT] * 128)
    assert [len(part) for part in to_txn(full)[1:]] == [128] * 3
    for name, one_more in (("compare", compare), ("success", PUT), ("failure", PUT)):
        request = rpc.TxnRequest()
        getattr(request, name).extend([one_more] * 129)
        assert refused(to_txn, request) == schema.TOO_MANY_OPERATIONS


def test_what_the_outer_transaction_takes_is_lost_to_those_inside() -> None:
    to_txn(rpc.TxnRequest(success=[nested(*[PUT] * 127)]))
    assert (
        refused(to_txn, rpc.TxnRequest(success=[nested(*[PUT] * 128)]))
        == schema.TOO_MANY_OPERATIONS
    )


def test_comparisons_take_what_their_target_names() -> None:
    targets = {
        CompareTarget.VERSION: ("version", 3),
        CompareTarget.CREATE: ("create_revision", 4),
        CompareTarget.MOD: ("mod_revision", 5),
        CompareTarget.VALUE: ("value", b"x"),
        CompareTarget.LEASE: ("lease", 6),
    }
    for target, (field, operand) in targets.items():
        comparison = rpc.Compare(
            key=b"k", range_end=b"l", target=int(target), result=1, **{field: operand}
        )
        (made,) = to_txn(rpc.TxnRequest(compare=[comparison]))[1]
        assert made == schema.compare(target, CompareResult.GREATER, b"k", operand, b"l")


def test_a_comparison_whose_operand_is_of_another_target_has_none() -> None:
    comparison = rpc.Compare(key=b"k", target=int(CompareTarget.VALUE), version=7)
    (made,) = to_txn(rpc.TxnRequest(compare=[comparison]))[1]
    assert made == schema.compare(CompareTarget.VALUE, CompareResult.EQUAL, b"k", b"")


def test_a_transaction_may_be_old_only_if_all_its_reads_may() -> None:
    old = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k", serializable=True))
    new = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
    assert translation.is_serializable(rpc.TxnRequest(success=[old], failure=[old]))
    assert not translation.is_serializable(rpc.TxnRequest(success=[old], failure=[new]))
    assert not translation.is_serializable(rpc.TxnRequest(success=[old, PUT]))
    assert not translation.is_serializable(rpc.TxnRequest())
