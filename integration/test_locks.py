"""Locks: what they promise, and what only the resource itself can.

A register that two clients increment stands for the resource. It has a latch of its own: a client
may be held up between its look at the register and its write, as a paused process would be.
"""

import threading
from collections.abc import Callable

import pytest
from node_processes import BOTH_ENGINES, NodeProcesses, eventually

from metastore.client import Client, LeaseLost, Lock, ops

TTL_S = 2
NAME = "register"

pytestmark = pytest.mark.timeout(90)


class StaleToken(Exception):
    """The resource has seen a later holder."""


class Register:
    """Outside of the cluster: a number, and the highest token that came with a write."""

    def __init__(self, *, enforces_tokens: bool) -> None:
        self.value = 0
        self._enforces_tokens = enforces_tokens
        self._token = 0
        self._lock = threading.Lock()  # one access at a time, nothing more

    def read(self, token: int) -> int:
        with self._lock:
            self._look_at(token)
            return self.value

    def write(self, token: int, value: int) -> None:
        with self._lock:
            self._look_at(token)
            self.value = value

    def _look_at(self, token: int) -> None:
        if self._enforces_tokens and token < self._token:
            raise StaleToken(f"{token} after {self._token}")
        self._token = max(self._token, token)


def increment(register: Register, lock: Lock) -> None:
    """With the lock held; as a program would that trusts it."""
    lock.check()
    token = lock.fencing_token
    register.write(token, register.read(token) + 1)


def run_into_a_pause(register: Register, cluster: NodeProcesses) -> tuple[int, bool]:
    """One holder is held up between its look and its write until its lease is over and another one
    has incremented: how many increments were reported as done, and whether its write was."""
    with cluster.client(timeout_s=20) as paused, cluster.client(timeout_s=20) as other:
        # A paused process sends no keep-alives.
        lease = paused.lease(TTL_S, keep_alive=False)
        holder = paused.lock(NAME, lease=lease)
        assert holder.acquire()
        holder.check()
        token = holder.fencing_token
        seen = register.read(token)

        with other.lock(NAME, ttl_s=60) as lock:
            assert lock.fencing_token > token
            increment(register, lock)

        done = 1
        try:
            register.write(token, seen + 1)
            done += 1
        except StaleToken:
            pass
        with pytest.raises(LeaseLost):
            holder.check()
        with pytest.raises(LeaseLost):
            holder.release()
        return done, done == 2


def test_a_paused_holder_loses_an_update_where_the_resource_does_not_enforce_tokens(
    cluster: NodeProcesses,
) -> None:
    """Not a defect that can be mended: the limit that lock.py tells of."""
    register = Register(enforces_tokens=False)
    done, _ = run_into_a_pause(register, cluster)
    assert (done, register.value) == (2, 1), "two increments were done and one of them is lost"


@BOTH_ENGINES
def test_no_update_is_lost_where_the_resource_enforces_tokens(
    make_cluster: Callable[..., NodeProcesses],
) -> None:
    cluster = make_cluster(3)
    cluster.start()
    cluster.leader()
    register = Register(enforces_tokens=True)
    done, was_written = run_into_a_pause(register, cluster)
    assert not was_written
    assert register.value == done

    # And in a crowd, while the leader dies.
    finished: list[int] = []

    def work() -> None:
        with cluster.client(timeout_s=30) as client:
            for _ in range(10):
                with client.lock(NAME, ttl_s=30) as lock:
                    increment(register, lock)
                    finished.append(1)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for worker in workers:
        worker.start()
    eventually("some are done", lambda: len(finished) > 3)
    leader = cluster.leader()
    cluster.kill(leader)
    for worker in workers:
        worker.join(60)
    assert len(finished) == 30
    assert register.value == done + 30


def test_a_waiter_whose_lease_ended_meanwhile_gets_an_error_and_not_the_lock(
    cluster: NodeProcesses,
) -> None:
    with cluster.client() as client, cluster.client() as other:
        held = client.lock(NAME, ttl_s=60)
        assert held.acquire()
        lease = other.lease(60)
        waiting = other.lock(NAME, lease=lease)
        caught: list[BaseException | None] = []

        def wait() -> None:
            try:
                waiting.acquire()
                caught.append(None)
            except LeaseLost as error:
                caught.append(error)

        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        key = f"{NAME}/{lease.id:x}"
        eventually("it stands in line", lambda: client.get(key) is not None)
        revoke(client, lease.id)  # behind its back: it still believes in its lease
        assert client.get(key) is None
        held.release()
        waiter.join(30)
        assert [type(error) for error in caught] == [LeaseLost]
        assert not waiting.is_held
        with other.lock(NAME) as lock:  # nothing of the waiter is left in the way
            lock.check()


def revoke(client: Client, lease_id: int) -> None:
    client.batch([ops.lease_revoke(lease_id)])


def test_the_next_in_line_gets_the_lock_when_the_holder_is_gone_without_a_word(
    cluster: NodeProcesses,
) -> None:
    with cluster.client(timeout_s=20) as client, cluster.client(timeout_s=20) as other:
        # Its keep-alives have ended, as those of a killed process.
        lease = client.lease(TTL_S, keep_alive=False)
        held = client.lock(NAME, lease=lease)
        assert held.acquire()
        # The layout of etcd's recipe: the name, a slash, the lease in hex; held by the lease.
        (kv,) = client.range(f"{NAME}/", f"{NAME}0").items
        assert kv.key == f"{NAME}/{lease.id:x}".encode()
        assert (kv.lease, kv.create_revision) == (lease.id, held.fencing_token)
        following = other.lock(NAME, lease=other.lease(60))
        assert not following.acquire(timeout_s=0.05), "two held it at a time"
        assert client.range(f"{NAME}/", f"{NAME}0").count == 1, "who gave up still stands in line"
        assert following.acquire(timeout_s=60)
        assert not lease.is_alive
        assert following.fencing_token > kv.create_revision
        following.release()
