"""Pending proposals: every waiter ends, and nobody gets another entry's answer."""

import pytest

from metastore.node.proposals import (
    ENTRY_BYTES_MAX,
    PendingProposals,
    Request,
    is_plain_read,
    may_be_read,
    single_operation,
    split_by_size,
)
from metastore.transport import schema
from metastore.transport.auth_ops import AuthAction, as_user, auth


def request_of(size: int, request_id: int = 0) -> Request:
    return Request(b"client", request_id, b"x" * size)


def test_waiters_of_a_committed_entry_are_theirs_when_the_term_matches() -> None:
    pending = PendingProposals()
    pending.add(7, 3, [(b"a", 1), (b"b", 2)])
    assert pending.take(7, 3) == ([(b"a", 1), (b"b", 2)], True)
    assert len(pending) == 0


def test_waiters_learn_that_another_terms_entry_took_their_index() -> None:
    pending = PendingProposals()
    pending.add(7, 3, [(b"a", 1)])
    assert pending.take(7, 4) == ([(b"a", 1)], False)


def test_an_entry_nobody_waits_for_has_no_waiters() -> None:
    assert PendingProposals().take(7, 3) == ((), False)


def test_taking_all_leaves_none_waiting() -> None:
    pending = PendingProposals()
    pending.add(7, 3, [(b"a", 1)])
    pending.add(8, 3, [(b"b", 2)])
    assert sorted(pending.take_all()) == [(b"a", 1), (b"b", 2)]
    assert pending.take_all() == []


def test_a_turn_is_cut_into_entries_below_the_limit_in_order() -> None:
    half = ENTRY_BYTES_MAX // 2
    requests = [request_of(half, n) for n in range(5)]
    groups = list(split_by_size(requests))
    assert [len(group) for group in groups] == [2, 2, 1]
    assert [r.request_id for group in groups for r in group] == [0, 1, 2, 3, 4]


def test_a_request_above_the_limit_travels_alone() -> None:
    requests = [request_of(10), request_of(ENTRY_BYTES_MAX + 1), request_of(10)]
    assert [len(group) for group in split_by_size(requests)] == [1, 1, 1]


def test_no_requests_make_no_entry() -> None:
    assert list(split_by_size([])) == []


@pytest.mark.parametrize("count", [1, 15, 16, 70_000])
def test_a_range_first_may_be_a_read_whatever_the_count(count: int) -> None:
    assert may_be_read(schema.encode_request([schema.range_(b"k")] * count))


def test_a_put_first_is_surely_no_read() -> None:
    assert not may_be_read(schema.encode_request([schema.put(b"k", b"v"), schema.range_(b"k")]))


@pytest.mark.parametrize("junk", [b"", b"\x91", b"\x00", b"\xc0\xc0", b"\xdc\x00", b"\xdd"])
def test_junk_is_no_read_and_no_error(junk: bytes) -> None:
    assert not may_be_read(junk)


# In a user's name


NAMES = ("", "u", "u" * 31, "u" * 32, "ü" * 127, "u" * 255, "u" * 256, "u" * 1024)
REVISIONS = (0, 1, 127, 128, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, -1)
SPELLED = [(name, revision) for name in NAMES for revision in REVISIONS]
# Names and numbers that no client of ours writes so are looked through by the decoder.
UNUSUAL = {(name, revision) for name, revision in SPELLED if revision < 0 or len(name) > 255}


@pytest.mark.parametrize(("name", "revision"), SPELLED)
@pytest.mark.parametrize("count", [1, 20])
def test_a_name_hides_nothing_of_what_follows(name: str, revision: int, count: int) -> None:
    header = as_user(name, revision)
    is_unusual = (name, revision) in UNUSUAL
    reads = schema.encode_request([header, *[schema.range_(b"k")] * count])
    writes = schema.encode_request([header, *[schema.put(b"k", b"v")] * count])
    assert may_be_read(reads)
    assert may_be_read(writes) is is_unusual
    if not is_unusual:
        code = single_operation(reads)
        assert code == (schema.Op.RANGE if count == 1 else 0)
        assert is_plain_read(code) is (count == 1)
    else:
        assert single_operation(reads) == 0


@pytest.mark.parametrize(
    "operation",
    [
        schema.filtered_range(schema.range_(b"k")),
        (int(schema.Op.LEASE_TIME_TO_LIVE), 7, True),
        (int(schema.Op.LEASES),),
        (int(schema.Op.HASH), 0),
        (int(schema.Op.ALARMS),),
    ],
    ids=lambda operation: str(operation[0]),
)
def test_plain_reads_are_known_with_and_without_a_name(operation: schema.Operation) -> None:
    for header in ((), (as_user("u", 300),)):
        code = single_operation(schema.encode_request([*header, operation]))
        assert code == operation[0]
        assert is_plain_read(code)


def test_transactions_and_actions_on_users_have_to_be_looked_at() -> None:
    for operation in (schema.txn([]), auth(AuthAction.STATUS), auth(AuthAction.USER_LIST)):
        for header in ((), (as_user("u", 3),)):
            request = schema.encode_request([*header, operation])
            assert may_be_read(request)
            assert not is_plain_read(single_operation(request))


def test_a_cut_or_strange_header_is_no_error() -> None:
    whole = schema.encode_request([as_user("user" * 20, 70_000), schema.range_(b"k")])
    # Up to the revision: of what is cut there, the decoder says what it is.
    cut_at = whole.index(b"\xce") + 5
    for length in range(4, cut_at + 1):
        assert may_be_read(whole[:length])
        assert single_operation(whole[:length]) == 0
    longer = [(int(schema.Op.AS), "u", 1, schema.range_(b"k")), schema.put(b"k", b"v")]
    assert single_operation(schema.encode_request(longer)) == 0
    for place in range(1, cut_at):
        for byte in (0x00, 0x92, 0x94, 0xC0, 0xD9, 0xDA, 0xFF):
            strange = whole[:place] + bytes((byte,)) + whole[place + 1 :]
            may_be_read(strange)
            single_operation(strange)
