"""Every write is answered once: with results, refused, or with "unknown"."""

from collections.abc import Callable

from runtime import CLIENT, Runtime, ask, errors, put, results

from metastore.node.raft.messages import (
    AppendEntries,
)
from metastore.node.raft.model import Role
from metastore.node.requests import APPENDS_IN_FLIGHT_MAX, WAITING_BYTES_MAX
from metastore.node.settings import Settings
from metastore.transport import envelope, schema
from metastore.transport.envelope import ErrorCode, Hello

MakeRuntime = Callable[..., Runtime]
THREE = (1, 2, 3)


def follow(node: Runtime, leader_id: int) -> None:
    message = AppendEntries(
        sender=leader_id,
        to=1,
        term=node.core.term + 1,
        prev_log_index=1,
        prev_log_term=1,
        commit_index=1,
    )
    node.step(message)
    node.settle()
    node.sent()


def test_a_write_at_a_follower_is_refused_with_the_leaders_id(make_runtime: MakeRuntime) -> None:
    node = make_runtime(THREE)
    ask(node, 1, put(1))
    [nobody] = errors(node)
    assert (nobody.request_id, nobody.code, nobody.leader_id) == (1, ErrorCode.NOT_LEADER, 0)
    follow(node, 3)
    ask(node, 2, put(2))
    [hint] = errors(node)
    assert (hint.request_id, hint.code, hint.leader_id) == (2, ErrorCode.NOT_LEADER, 3)
    assert "node 3 leads" in hint.message


def test_a_stopping_node_takes_no_new_write(alone: Runtime) -> None:
    alone.desk.stopping = True
    ask(alone, 1, put(1))
    alone.settle()
    [refused] = errors(alone)
    assert (refused.code, "stopping" in refused.message) == (ErrorCode.UNAVAILABLE, True)
    assert alone.store.key_count == 0


def test_all_writes_of_a_turn_travel_as_one_entry_and_each_is_answered(alone: Runtime) -> None:
    before = alone.core.last_index
    for number in range(5):
        ask(alone, number, put(number))
    alone.settle()
    assert alone.core.last_index == before + 1
    assert results(alone) == [0, 1, 2, 3, 4]
    assert alone.store.key_count == 5


def test_writes_wait_while_the_disk_is_behind_and_then_travel_as_one_entry(
    alone: Runtime,
) -> None:
    before = alone.core.last_index
    for number in range(APPENDS_IN_FLIGHT_MAX):
        ask(alone, number, put(number))
        alone.turn()
    assert alone.disk.outstanding == APPENDS_IN_FLIGHT_MAX
    for number in range(10, 15):
        ask(alone, number, put(number))
        alone.turn()
    assert alone.core.last_index == before + APPENDS_IN_FLIGHT_MAX
    alone.settle()
    assert alone.core.last_index == before + APPENDS_IN_FLIGHT_MAX + 1
    assert results(alone) == [*range(APPENDS_IN_FLIGHT_MAX), 10, 11, 12, 13, 14]


def test_writes_beyond_what_may_wait_are_refused(alone: Runtime) -> None:
    large = schema.encode_request([schema.put(b"k", b"x" * (1 << 20))])
    count = WAITING_BYTES_MAX // len(large)
    for number in range(count + 1):
        ask(alone, number, large)
    [refused] = errors(alone)
    assert (refused.request_id, refused.code) == (count, ErrorCode.UNAVAILABLE)
    ask(alone, count + 1, put(1))
    assert errors(alone) == []


def test_what_may_wait_is_counted_anew_after_it_was_proposed(alone: Runtime) -> None:
    large = schema.encode_request([schema.put(b"k", b"x" * (1 << 20))])
    for number in range(WAITING_BYTES_MAX // len(large)):
        ask(alone, number, large)
    alone.settle()
    alone.answers()
    ask(alone, 100, large)
    alone.settle()
    assert results(alone) == [100]


def test_a_proposal_that_the_core_drops_is_refused_as_safe_to_repeat(leader: Runtime) -> None:
    leader.core.transfer_leadership(2)
    ask(leader, 1, put(1))
    leader.settle()
    [refused] = errors(leader)
    assert (refused.request_id, refused.code) == (1, ErrorCode.UNAVAILABLE)
    assert len(leader.pending) == 0


def test_a_write_that_waits_when_the_leadership_ends_is_refused_not_proposed(
    leader: Runtime,
) -> None:
    ask(leader, 1, put(1))
    leader.core.step(
        AppendEntries(sender=2, to=1, term=leader.core.term + 1, prev_log_index=1, prev_log_term=1)
    )
    assert leader.core.role is Role.FOLLOWER
    leader.turn()
    [refused] = errors(leader)
    assert (refused.code, refused.leader_id) == (ErrorCode.NOT_LEADER, 2)


def test_giving_up_ends_what_was_proposed_as_unknown_and_what_waits_as_refused(
    alone: Runtime,
) -> None:
    """Only the first may still happen; telling the second so would forbid a safe repeat."""
    for number in range(APPENDS_IN_FLIGHT_MAX):
        ask(alone, number, put(number))
        alone.turn()
    ask(alone, 10, put(10))
    alone.turn()
    alone.desk.give_up("it is over")
    codes = {error.request_id: error.code for error in errors(alone)}
    assert codes == {
        **dict.fromkeys(range(APPENDS_IN_FLIGHT_MAX), ErrorCode.OUTCOME_UNKNOWN),
        10: ErrorCode.NOT_LEADER,
    }
    alone.settle()
    assert alone.answers() == []  # nobody is answered twice, and what waited was not proposed
    assert alone.store.key_count == APPENDS_IN_FLIGHT_MAX


def test_what_waits_at_a_stopping_leader_is_not_sent_back_to_it(alone: Runtime) -> None:
    for number in range(APPENDS_IN_FLIGHT_MAX):
        ask(alone, number, put(number))
        alone.turn()
    ask(alone, 10, put(10))
    alone.turn()
    alone.desk.stopping = True
    alone.desk.give_up("it is over")
    codes = {error.request_id: error.code for error in errors(alone)}
    assert codes[10] == ErrorCode.UNAVAILABLE


def test_a_write_that_is_no_request_is_answered_by_the_store(alone: Runtime) -> None:
    ask(alone, 1, b"\xc1 no request")
    alone.settle()
    assert results(alone) == [1]


def test_a_hello_of_any_or_of_this_cluster_is_welcomed(alone: Runtime, settings: Settings) -> None:
    for cluster_id in (0, settings.cluster_id):
        alone.desk.hello(CLIENT, Hello(1, cluster_id))
        [welcome] = alone.answers()
        assert isinstance(welcome, envelope.Welcome)
        assert (welcome.cluster_id, welcome.node_id) == (settings.cluster_id, 1)
        assert welcome.leader_id == 1
        assert [m.node_id for m in welcome.members] == [m.node_id for m in settings.members]


def test_a_hello_of_another_cluster_is_refused(alone: Runtime, settings: Settings) -> None:
    alone.desk.hello(CLIENT, Hello(1, settings.cluster_id + 1))
    [refused] = errors(alone)
    assert (refused.request_id, refused.code) == (1, ErrorCode.WRONG_CLUSTER)
