"""Transactions: everything that can be wrong is found before anything is done.

Reading order 5 of the engines, used by mvcc.py. Three steps, as in etcd: is the operation well made
(whatever the state); which branches are taken (all comparisons, nested ones too, see the state from
before); can everything on these branches be carried out. Then no write can fail any more.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import eq, gt, lt, ne
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from metastore.engines.ranges import select
from metastore.engines.records import CREATE, LEASE, MOD, VALUE, VERSION, Records, tombstone
from metastore.engines.refusals import (
    COMPACTED_AWAY,
    IGNORES,
    IN_THE_FUTURE,
    NO_SUCH_KEY,
    NO_SUCH_LEASE,
)
from metastore.engines.txn_shape import txn_refusal
from metastore.transport.schema import CompareResult, CompareTarget, Op, Operation, Result

if TYPE_CHECKING:
    from metastore.engines.mvcc import KeySpace

_PUT, _DELETE_RANGE, _TXN = int(Op.PUT), int(Op.DELETE_RANGE), int(Op.TXN)
_FIELD = {
    CompareTarget.VERSION: VERSION,
    CompareTarget.CREATE: CREATE,
    CompareTarget.MOD: MOD,
    CompareTarget.VALUE: VALUE,
    CompareTarget.LEASE: LEASE,
}
_HOLDS: dict[int, Callable[[Any, Any], bool]] = {
    CompareResult.EQUAL: eq,
    CompareResult.GREATER: gt,
    CompareResult.LESS: lt,
    CompareResult.NOT_EQUAL: ne,
}
_NO_REVISION = 0  # in the result of a nested transaction: etcd leaves its header empty

_Step: TypeAlias = "Operation | _Plan"


class _Plan(NamedTuple):
    """The branch that is taken; a nested transaction in it is a plan, too."""

    succeeded: bool
    steps: list[_Step]


def execute(keys: "KeySpace", operation: Operation, lease_exists: Callable[[int], bool]) -> Result:
    refusal = txn_refusal(operation)
    if refusal is None:
        plan = _plan(keys.records, operation)
        operations = list(_flat(plan))
        refusal = _put_problem(keys.records, operations, lease_exists)
        refusal = refusal or _range_problem(keys, operations)
    if refusal is not None:
        return refusal
    results = _run(keys, plan, keys.revision + 1)
    return (0, keys.revision, plan.succeeded, results)


def _plan(records: Records, operation: Operation) -> _Plan:
    _, compares, success, failure = operation
    succeeded = all(_compare(records, compare) for compare in compares)
    steps = success if succeeded else failure
    return _Plan(succeeded, [_plan(records, op) if op[0] == _TXN else op for op in steps])


def _compare(records: Records, compare: Sequence[Any]) -> bool:
    """Of a range: for every key in it."""
    result, target, key, range_end, operand = compare
    found = select(records, key, range_end)
    if not found:
        if target == CompareTarget.VALUE:
            return False  # a key that is not there has no value that compares
        found = [tombstone(key, 0)]
    holds, field = _HOLDS[result], _FIELD[target]
    return all(holds(record[field], operand) for record in found)


def _flat(plan: _Plan) -> Iterator[Operation]:
    for step in plan.steps:
        if isinstance(step, _Plan):
            yield from _flat(step)
        else:
            yield step


def _put_problem(
    records: Records, operations: Sequence[Operation], lease_exists: Callable[[int], bool]
) -> Result | None:
    for operation in operations:
        if operation[0] == _PUT:
            _, key, _, lease, flags = operation
            if flags & IGNORES and records.get(key) is None:
                return NO_SUCH_KEY
            if lease and not lease_exists(lease):
                return NO_SUCH_LEASE
    return None


def _range_problem(keys: "KeySpace", operations: Sequence[Operation]) -> Result | None:
    for operation in operations:
        if operation[0] not in (_PUT, _DELETE_RANGE) and operation[4]:
            if operation[4] > keys.revision:
                return IN_THE_FUTURE
            if operation[4] < keys.compacted_revision:
                return COMPACTED_AWAY
    return None


def _run(keys: "KeySpace", plan: _Plan, revision: int) -> list[Result]:
    """All writes at `revision`; what is read after a write sees it."""
    results: list[Result] = []
    for step in plan.steps:
        if isinstance(step, _Plan):
            results.append((0, _NO_REVISION, step.succeeded, _run(keys, step, revision)))
        elif step[0] == _PUT:
            results.append(keys.put_at(step, revision))
        elif step[0] == _DELETE_RANGE:
            results.append(keys.delete_range_at(step, revision))
        else:
            results.append(keys.range(step))
    return results
