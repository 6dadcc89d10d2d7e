"""Leases as this side sees them: never believed in for too long, and never lost in silence."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from metastore.client import (
    Client,
    InvalidRequest,
    Lease,
    LeaseLost,
    Unavailable,
    coordination,
    lease,
)
from metastore.client.calls import Call
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel

WAIT_S = 10.0
KEEP_ALIVE = schema.Op.LEASE_KEEP_ALIVE


class Clock:
    """In place of the module's time: stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    return clock


class Cluster:
    """Answers keep-alives with `ttl_s`, or raises what it is told to."""

    def __init__(self, clock: Any = time) -> None:
        self.clock = clock
        self.ttl_s = 9
        self.fails_with: list[BaseException] = []
        self.operations: list[Any] = []
        self.during: Callable[[], None] = lambda: None  # between the sending and the answer

    def perform(self, operations: Any, timeout_s: float | None) -> Call:
        self.operations.extend(operations)
        call = Call(operations, ReadLevel.LINEARIZABLE, 0.0)
        call.sent_at = self.clock.monotonic()
        self.during()
        if self.fails_with:
            raise self.fails_with.pop(0)
        is_keep_alive = operations[0][0] == KEEP_ALIVE
        call.finish([[0, 1, self.ttl_s]] if is_keep_alive else [[0, 1]])
        return call


def end(found: Lease) -> str:
    """Waits for the end of its thread; why it is lost."""
    assert found._thread is not None
    found._thread.join(WAIT_S)
    assert not found._thread.is_alive()
    with pytest.raises(LeaseLost) as caught:
        found.check()
    return caught.value.reason


def test_a_lease_lives_a_ttl_from_the_sending_of_the_last_keep_alive(clock: Clock) -> None:
    cluster = Cluster(clock)
    found = Lease(cluster.perform, 7, 9, clock.now)
    clock.now += 5
    assert found.remaining() == 4

    def take_long() -> None:
        clock.now += 3

    cluster.during = take_long
    assert found.keep_alive_once() == 9
    assert found.remaining() == 6
    clock.now += 5.9
    assert found.is_alive
    found.check()


def test_a_lease_that_was_not_confirmed_in_time_is_lost_for_good(clock: Clock) -> None:
    cluster = Cluster(clock)
    found = Lease(cluster.perform, 7, 9, clock.now)
    clock.now += 9
    assert not found.is_alive
    assert found.remaining() == 0.0
    with pytest.raises(LeaseLost, match=r"7 is lost: no keep-alive was confirmed for 9 s"):
        found.check()
    clock.now -= 9  # even a confirmation would not bring it back
    with pytest.raises(LeaseLost):
        found.keep_alive_once()
    assert cluster.operations == []


def test_a_keep_alive_that_is_confirmed_too_late_does_not_save_the_lease(clock: Clock) -> None:
    cluster = Cluster(clock)
    found = Lease(cluster.perform, 7, 9, clock.now)

    def look_after_the_end() -> None:
        clock.now += 9
        assert not found.is_alive

    cluster.during = look_after_the_end
    with pytest.raises(LeaseLost):
        found.keep_alive_once()


def test_a_lease_that_the_cluster_has_ended_is_lost(clock: Clock) -> None:
    cluster = Cluster(clock)
    cluster.ttl_s = 0
    found = Lease(cluster.perform, 7, 9, clock.now)
    with pytest.raises(LeaseLost, match="the cluster has ended it") as caught:
        found.keep_alive_once()
    assert caught.value.lease_id == 7


def test_revoking_makes_it_lost_at_once_and_twice_is_fine(clock: Clock) -> None:
    cluster = Cluster(clock)
    found = Lease(cluster.perform, 7, 9, clock.now)
    found.revoke()
    cluster.fails_with.append(InvalidRequest(schema.LEASE_NOT_FOUND, 5))
    found.revoke()
    assert not found.is_alive
    assert cluster.operations == [(schema.Op.LEASE_REVOKE, 7)] * 2


def test_leaving_the_block_revokes_and_an_unreachable_cluster_does_not_matter(
    clock: Clock,
) -> None:
    cluster = Cluster(clock)
    cluster.fails_with.append(Unavailable("nobody there"))
    with Lease(cluster.perform, 7, 9, clock.now) as found:
        assert found.is_alive
    assert not found.is_alive


def test_its_thread_renews_it_and_bears_its_name() -> None:
    cluster = Cluster()
    renewed = threading.Event()
    found = Lease(cluster.perform, 0xAB, 9, time.monotonic())
    found.ttl_s = 0  # so that the thread does not wait between two keep-alives
    cluster.during = renewed.set
    found.keep_alive()
    assert renewed.wait(WAIT_S)
    assert found._thread is not None
    assert (found._thread.name, found._thread.daemon) == ("metastore-lease-ab", True)
    found.revoke()
    assert end(found) == "it was revoked"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (InvalidRequest("no such thing"), "could not be kept alive: no such thing"),
        (KeyError("surprise"), "its thread died of KeyError"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_death_of_its_thread_is_seen_with_the_reason(
    failure: BaseException, reason: str
) -> None:
    cluster = Cluster()
    cluster.fails_with.append(failure)
    found = Lease(cluster.perform, 7, 9, time.monotonic())
    found.ttl_s = 0
    found.keep_alive()
    assert reason in end(found)


def test_its_thread_goes_on_trying_until_nothing_remains() -> None:
    cluster = Cluster()
    cluster.fails_with.extend([Unavailable("an election")] * 2)
    found = Lease(cluster.perform, 7, 9, time.monotonic())
    found.ttl_s = 0
    tried = threading.Semaphore(0)
    cluster.during = tried.release
    found.keep_alive()
    assert all(tried.acquire(timeout=WAIT_S) for _ in range(3))
    assert found.is_alive
    cluster.ttl_s = 0
    assert end(found) == "the cluster has ended it"


def test_a_client_grants_renews_and_revokes(cluster: Any) -> None:
    cluster.answers.update(
        {
            schema.Op.LEASE_GRANT: lambda operation: [0, 1, operation[1] or 5, 30],
            KEEP_ALIVE: [0, 1, 30],
            schema.Op.LEASE_REVOKE: [0, 1],
            schema.Op.LEASES: [0, 1, [5]],
            schema.Op.LEASE_TIME_TO_LIVE: [0, 1, 29, 30, [b"a"]],
        }
    )
    with Client(cluster.leader.client_address) as client:
        with client.lease(1) as granted:
            assert (granted.id, granted.ttl_s) == (5, 30)
            assert granted.keep_alive_once() == 30
            client.put("a", "1", lease=granted)
            assert client.leases() == (5,)
            assert client.time_to_live(granted, keys=True).keys == (b"a",)
        assert client.lease(1, 77, keep_alive=False).id == 77
    assert cluster.data[b"a"][5] == 5


def test_a_new_lease_counts_from_before_it_was_asked_for(
    cluster: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grant_late(operation: Any) -> Any:
        clock.now += 4
        return [0, 1, 5, 30]

    monkeypatch.setattr(coordination, "time", clock)
    cluster.answers[schema.Op.LEASE_GRANT] = grant_late
    with Client(cluster.leader.client_address) as client:
        assert client.lease(30, keep_alive=False).remaining() == 26


def test_closing_the_client_ends_its_leases_visibly(cluster: Any) -> None:
    cluster.answers[schema.Op.LEASE_GRANT] = [0, 1, 5, 30]
    client = Client(cluster.leader.client_address)
    granted = client.lease(30, keep_alive=False)
    granted.ttl_s = 0
    client.close()
    granted.keep_alive()
    assert "the client is closed" in end(granted)
