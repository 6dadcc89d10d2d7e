"""What a range reads: which keys, at which revision, in which order, how many.

Reading order 4 of the engines, for mvcc.py and transactions.py. Only reads; the caller has checked
the key and the revision.
"""

from operator import itemgetter

from metastore.engines.records import CREATE, KEY, MOD, VALUE, VERSION, KeyValue, Records
from metastore.transport.schema import Flag, Op, Operation, Result, SortOrder, SortTarget

NO_END = b"\x00"  # as range_end: all keys from `key` on
LIMIT_MAX = 1 << 62  # more than there can be; a larger number would not fit what counts with it

_FILTERED = int(Op.FILTERED_RANGE)
_KEYS_ONLY, _COUNT_ONLY, _NO_COUNT = int(Flag.KEYS_ONLY), int(Flag.COUNT_ONLY), int(Flag.NO_COUNT)
_FIELD = {
    SortTarget.KEY: KEY,
    SortTarget.VERSION: VERSION,
    SortTarget.CREATE: CREATE,
    SortTarget.MOD: MOD,
    SortTarget.VALUE: VALUE,
}


def select(
    records: Records, key: bytes, range_end: bytes, revision: int = 0, limit: int = 0
) -> list[KeyValue]:
    """Live records in key order, at most `limit` (0: all), as of `revision` (0: now)."""
    if not range_end:
        record = records.get_at(key, revision) if revision else records.get(key)
        return [record] if record is not None and record[VERSION] else []
    end = None if range_end == NO_END else range_end
    if revision:
        return records.select_at(key, end, revision, limit)
    return records.select(key, end, limit)


def count(records: Records, key: bytes, range_end: bytes, revision: int = 0) -> int:
    if revision or not range_end:
        return len(select(records, key, range_end, revision))
    return records.count(key, None if range_end == NO_END else range_end)


def read_range(records: Records, operation: Operation, newest: int) -> Result:
    """The result of a RANGE or FILTERED_RANGE; `newest` is the revision of the state."""
    key, range_end, limit, revision, flags = operation[1:6]
    limit = min(limit, LIMIT_MAX)
    if revision < 0 or revision == newest:
        revision = 0
    if flags & _COUNT_ONLY:
        return (0, newest, (), False, count(records, key, range_end, revision))
    is_filtered = operation[0] == _FILTERED
    # One more than asked for says whether there is more. As in etcd a sort target without an order
    # is no reason to read everything: it sorts what the limit lets through.
    wanted = limit + 1 if limit > 0 and not (is_filtered and _needs_all(operation)) else 0
    found = select(records, key, range_end, revision, wanted)
    total = len(found)
    if total == wanted > 0 and not flags & _NO_COUNT:
        total = count(records, key, range_end, revision)
    if is_filtered:
        found = _arrange(found, operation)
    has_more = 0 < limit < len(found)
    if has_more:
        del found[limit:]
    if flags & _KEYS_ONLY:
        found = [(record[0], b"", *record[2:]) for record in found]
    return (0, newest, found, has_more, len(found) if flags & _NO_COUNT else total)


def _needs_all(operation: Operation) -> bool:
    return operation[6] != SortOrder.NONE or any(operation[8:])


def _arrange(found: list[KeyValue], operation: Operation) -> list[KeyValue]:
    """Filtered and sorted; `found` is in key order. A bound of 0 is none."""
    order, target, mod_min, mod_max, create_min, create_max = operation[6:]
    if mod_max:
        found = [record for record in found if record[MOD] <= mod_max]
    if mod_min:
        found = [record for record in found if record[MOD] >= mod_min]
    if create_max:
        found = [record for record in found if record[CREATE] <= create_max]
    if create_min:
        found = [record for record in found if record[CREATE] >= create_min]
    if target != SortTarget.KEY or order == SortOrder.DESCEND:
        found.sort(key=itemgetter(_FIELD[target]), reverse=order == SortOrder.DESCEND)
    return found
