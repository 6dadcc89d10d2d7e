"""What a transaction can be refused for whatever the state: its size, its keys, and writing one key
twice.

Reading order 4 of the engines, for transactions.py. Reads operations, never records.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from metastore.engines.ranges import NO_END
from metastore.engines.refusals import KEY_TWICE, NO_KEY, TOO_MANY, put_refusal
from metastore.transport.schema import Op, Operation, Result

TXN_OPERATIONS_MAX = 128  # comparisons, and operations of a branch with what is nested in it

_PUT, _DELETE_RANGE, _TXN = int(Op.PUT), int(Op.DELETE_RANGE), int(Op.TXN)


def txn_refusal(operation: Operation) -> Result | None:
    refusal = _fields_refusal(operation, TXN_OPERATIONS_MAX)
    if refusal is None and _writes_or_none(operation) is None:
        return KEY_TWICE
    return refusal


def _fields_refusal(operation: Operation, operations_max: int) -> Result | None:
    """As etcd counts: what the longest list of a transaction takes is lost to those inside."""
    _, compares, success, failure = operation
    left = operations_max - max(len(compares), len(success), len(failure))
    if left < 0:
        return TOO_MANY
    if not all(compare[2] for compare in compares):
        return NO_KEY
    for branch in (success, failure):
        for nested in branch:
            refusal = _field_refusal(nested, left)
            if refusal is not None:
                return refusal
    return None


def _field_refusal(operation: Operation, operations_max: int) -> Result | None:
    if operation[0] == _TXN:
        return _fields_refusal(operation, operations_max)
    if operation[0] == _PUT:
        return put_refusal(operation)
    return None if operation[1] else NO_KEY


class _Writes(NamedTuple):
    """What one step of a branch may write, whichever way its comparisons go."""

    puts: Sequence[bytes]
    deletes: Sequence[tuple[bytes, bytes | None]]  # [start, end), None: no end


def _writes_or_none(operation: Operation) -> _Writes | None:
    """None: two steps of one branch, here or further in, would write the same key. Two deletes may,
    the second finds nothing."""
    puts: set[bytes] = set()
    deletes: list[tuple[bytes, bytes | None]] = []
    for branch in operation[2:]:
        steps: list[_Writes] = []
        for nested in branch:
            step = _step_or_none(nested)
            if step is None:
                return None
            steps.append(step)
        if _collide(steps):
            return None
        for step in steps:
            puts.update(step.puts)
            deletes.extend(step.deletes)
    return _Writes(tuple(puts), deletes)


def _step_or_none(operation: Operation) -> _Writes | None:
    if operation[0] == _TXN:
        return _writes_or_none(operation)
    if operation[0] == _PUT:
        return _Writes((operation[1],), ())
    if operation[0] == _DELETE_RANGE:
        _, key, range_end, _ = operation
        end = None if range_end == NO_END else range_end or key + b"\x00"
        return _Writes((), ((key, end),))
    return _Writes((), ())


_END, _START, _PUT_HERE = range(3)  # at one key in this order: an interval does not hold its end


def _collide(steps: Sequence[_Writes]) -> bool:
    """Walks once over all keys in order, with the deletes that are open at each."""
    if not any(step.deletes for step in steps):
        keys = [key for step in steps for key in step.puts]
        return len(keys) != len(set(keys))
    is_open: Counter[int] = Counter()
    last_put: tuple[bytes, int] | None = None
    for key, kind, step in sorted(_marks(steps)):
        if kind == _START:
            is_open[step] += 1
        elif kind == _END:
            is_open[step] -= 1
            if not is_open[step]:
                del is_open[step]
        else:
            if last_put is not None and last_put[0] == key:
                return True
            if len(is_open) > (step in is_open):
                return True
            last_put = (key, step)
    return False


def _marks(steps: Sequence[_Writes]) -> Iterator[tuple[bytes, int, int]]:
    for place, step in enumerate(steps):
        for key in step.puts:
            yield key, _PUT_HERE, place
        for start, end in step.deletes:
            if end is None or start < end:
                yield start, _START, place
                if end is not None:
                    yield end, _END, place
