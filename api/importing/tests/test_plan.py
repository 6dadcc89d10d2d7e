"""What was read is given back by revision, in requests that a node takes."""

from pathlib import Path

import pytest

from metastore.api.importing import plan as plan_module
from metastore.api.importing.plan import (
    BATCH_BYTES_MAX,
    BATCH_KEYS_MAX,
    TRANSACTION_KEYS_MAX,
    Plan,
    Put,
)
from metastore.client.client import REQUEST_BYTES_MAX
from metastore.client.errors import InvalidRequest
from metastore.client.ops import put, txn
from metastore.transport.schema import encode_request

NONE: frozenset[int] = frozenset()


def keys_of(plan: Plan, left_out: frozenset[int] = NONE) -> list[list[list[bytes]]]:
    return [[[put.key for put in change] for change in batch] for batch in plan.batches(left_out)]


def test_keys_come_by_revision_and_those_of_one_together(tmp_path: Path) -> None:
    with Plan(tmp_path) as plan:
        for key, revision in ((b"a", 9), (b"b", 3), (b"c", 7), (b"d", 3), (b"e", 5)):
            plan.add(revision, Put(key, b"v", 0))
        assert keys_of(plan) == [[[b"b", b"d"], [b"e"], [b"c"], [b"a"]]]


def test_keys_of_leases_that_are_left_out_do_not_come(tmp_path: Path) -> None:
    with Plan(tmp_path) as plan:
        plan.add(2, Put(b"a", b"", 7))
        plan.add(2, Put(b"b", b"", 0))
        plan.add(3, Put(b"c", b"", 7))
        assert plan.leases == {7}
        assert keys_of(plan, frozenset({7})) == [[[b"b"]]]


def test_batches_are_bounded_in_keys_and_bytes(tmp_path: Path) -> None:
    with Plan(tmp_path) as plan:
        for number in range(BATCH_KEYS_MAX + 1):
            plan.add(number + 2, Put(b"%06d" % number, b"", 0))
        plan.add(5000, Put(b"large", bytes(BATCH_BYTES_MAX), 0))
        sizes = [len(batch) for batch in keys_of(plan)]
    assert sizes == [BATCH_KEYS_MAX, 1, 1]


def test_a_revision_of_many_keys_is_several_transactions(tmp_path: Path) -> None:
    with Plan(tmp_path) as plan:
        for number in range(TRANSACTION_KEYS_MAX + 3):
            plan.add(2, Put(b"%06d" % number, b"", 0))
        changes = [change for batch in keys_of(plan) for change in batch]
    assert [len(change) for change in changes] == [TRANSACTION_KEYS_MAX, 3]
    keys = [key for change in changes for key in change]
    assert keys == sorted(keys)


def test_the_largest_that_is_taken_fits_a_request_and_more_is_refused_at_once(
    tmp_path: Path,
) -> None:
    room = REQUEST_BYTES_MAX - 64 - plan_module.KEY_OVERHEAD_BYTES
    with Plan(tmp_path) as plan:
        plan.add(2, Put(b"k", bytes(room - 1), 1 << 62))
        with pytest.raises(InvalidRequest, match="b'large'"):
            plan.add(2, Put(b"large", bytes(room - 4), 0))
        ((change,),) = plan.batches(NONE)
    puts = [put(one.key, one.value, lease=one.lease) for one in change]
    assert len(encode_request([txn([], puts)])) <= REQUEST_BYTES_MAX


def test_a_transaction_that_is_too_large_is_cut(tmp_path: Path) -> None:
    with Plan(tmp_path) as plan:
        for number in range(10):
            plan.add(2, Put(b"%d" % number, bytes(500_000), 0))
        for batch in plan.batches(NONE):
            puts = [put(one.key, one.value) for change in batch for one in change]
            assert len(encode_request([txn([], puts)])) <= REQUEST_BYTES_MAX
