"""What clients of etcd with several endpoints see when the member that they talk to dies or sleeps.

The same runs against real members, where it is cheap: what ours must do is what they do.
"""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from failover_clients import (
    NO_LEADER,
    TIMED_OUT,
    EtcdChannel,
    EtcdctlWatch,
    Keeper,
    LockWaiter,
    Watcher,
    Writer,
    answers_of,
)
from gateways import EtcdCluster, GatewayCluster, is_healthy
from leader_managers import GrpcStore, HttpStore, Team
from node_processes import eventually

from metastore.api.protocol.messages import lock as locks
from metastore.api.protocol.messages import rpc

pytestmark = pytest.mark.timeout(120)
PREFIX = b"w/"
LOCK = b"mutex"
TTL_S = 4
BEFORE, AFTER = 40, 40  # acknowledged writes
System = tuple[list[str], Callable[[], None], Callable[[], None]]


@pytest.fixture
def system(request: Any, make_gateways: Callable[..., GatewayCluster], tmp_path: Path) -> Any:
    """Endpoints, the victim's first; what kills it; what must be so when it is back."""
    if request.param == "a member of etcd":
        yield from of_etcd(tmp_path)
    else:
        yield of_ours(make_gateways(3), kills_node=request.param == "a node")


def of_ours(ours: GatewayCluster, kills_node: bool) -> System:
    ours.start_with_gateways()
    victim = ours.leader()
    first = [ours.urls[victim], *(ours.urls[node_id] for node_id in ours.others(victim))]
    pid = ours.gateway_pid(victim)

    def is_back() -> None:
        eventually("the gateway runs again", lambda: ours.gateway_pid(victim) not in (0, pid))
        ours.wait_for_gateways(victim)

    def kill_gateway() -> None:
        os.kill(pid, signal.SIGKILL)

    def kill_node() -> None:
        ours.kill(victim)
        eventually("the gateway has died with its node", lambda: not is_healthy(first[0]))
        eventually("its process too", lambda: not Path(f"/proc/{pid}").exists())

    def restart() -> None:
        ours.start(victim)
        is_back()

    return (first, kill_node, restart) if kills_node else (first, kill_gateway, is_back)


def of_etcd(folder: Path) -> Iterator[System]:
    etcds = EtcdCluster(folder)
    try:
        yield etcds.etcd_endpoints, lambda: etcds.kill(0), lambda: etcds.start(0)
    finally:
        etcds.stop()


class Clients:
    """All of one scenario."""

    def __init__(self, endpoints: list[str], stack: ExitStack) -> None:
        self.channel = EtcdChannel(endpoints)
        stack.callback(self.channel.close)
        start = self.channel.put(b"begin", b"") + 1
        self.holder, self.second = Keeper(endpoints, TTL_S), Keeper(endpoints, TTL_S)
        self.channel.put(b"kept", b"", lease=self.holder.lease)
        request = locks.LockRequest(name=LOCK, lease=self.holder.lease)
        self.lock_key = self.channel.call("Lock/Lock", request).key
        self.waiter = LockWaiter(endpoints, LOCK, self.second.lease)
        self.watcher = Watcher(endpoints, PREFIX, start)
        self.writer = Writer(endpoints, PREFIX)
        self.workers = [self.holder, self.second, self.waiter, self.watcher, self.writer]
        for worker in self.workers:
            worker.start()
            stack.callback(worker.stop)
        self.etcdctl = EtcdctlWatch(endpoints, PREFIX, start)
        stack.callback(self.etcdctl.stop)

    def wait_for_writes(self, count: int) -> None:
        aim = len(self.writer.acknowledged) + count
        eventually("writes go on", lambda: len(self.writer.acknowledged) >= aim)

    def check_data(self) -> None:
        """No acknowledged write is lost, and both watches saw each revision once, in order."""
        self.writer.stop()
        kept = [(kv.mod_revision, kv.key) for kv in self.channel.all_keys(PREFIX)]
        by_key = {key: revision for revision, key in kept}
        acknowledged = self.writer.acknowledged
        assert {key: by_key.get(key) for key in acknowledged} == acknowledged
        for watch in (self.watcher, self.etcdctl):
            what = f"the watch has come to the end; etcdctl says {self.etcdctl.told}"
            eventually(what, lambda watch=watch: watch.seen[-1:] == kept[-1:])
            assert watch.seen == kept

    def check_leases(self) -> None:
        """The lease that was kept alive is, with its key; the lock is still that of its holder, and
        goes to who waits for it, through another member, when it is given back."""
        assert 0 not in self.holder.answers + self.second.answers
        request = rpc.LeaseTimeToLiveRequest(ID=self.holder.lease, keys=True)
        found = self.channel.call("Lease/LeaseTimeToLive", request)
        assert found.TTL > 0
        assert sorted(found.keys) == sorted([b"kept", self.lock_key])
        assert self.waiter.key == b""
        self.channel.call("Lock/Unlock", locks.UnlockRequest(key=self.lock_key))
        eventually("the lock has gone on", lambda: self.waiter.key)


@pytest.mark.parametrize("system", ["a node", "a gateway", "a member of etcd"], indirect=True)
def test_clients_go_on_when_the_member_that_they_talk_to_is_killed(system: System) -> None:
    endpoints, kill, come_back = system
    with ExitStack() as stack:
        clients = Clients(endpoints, stack)
        clients.wait_for_writes(BEFORE)
        eventually("all is under way", lambda: clients.watcher.seen and clients.etcdctl.seen)
        kill()
        clients.wait_for_writes(AFTER)
        renewed = len(clients.holder.answers)
        eventually("renewals go on", lambda: len(clients.holder.answers) > renewed + 2)
        come_back()
        clients.check_leases()
        clients.check_data()
        assert [worker.broken for worker in clients.workers if worker.broken] == []
        # Something was cut off, or nothing has been shown.
        assert clients.watcher.refusals


@contextmanager
def asleep(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def leads(endpoint: str) -> bool:
    channel = EtcdChannel([endpoint])
    status = channel.call("Maintenance/Status", rpc.StatusRequest())
    channel.close()
    return bool(status.leader == status.header.member_id)


def without_majority(endpoint: str, others: list[int]) -> dict[str, Any]:
    """What one member answers while all the others sleep, to whom sets no deadline."""
    with ExitStack() as stack:
        channel = EtcdChannel([endpoint])
        stack.callback(channel.close)
        watcher = Watcher([endpoint], PREFIX, channel.put(b"begin", b"") + 1)
        keeper = Keeper([endpoint], ttl_s=600)
        for worker in (keeper, watcher):
            worker.start()
            stack.callback(worker.stop)
        eventually("the lease is kept alive", lambda: keeper.answers)
        with asleep(others):
            told = answers_of(channel, keeper.lease)
            for worker in (keeper, watcher):
                eventually("the stream ends", lambda worker=worker: NO_LEADER in worker.refusals)
        revision = eventually("writes resume", lambda: channel.put_or_none(PREFIX, b""))
        told["read back"] = channel.all_keys(PREFIX)[0].mod_revision == revision
        eventually("the watch resumes", lambda: watcher.seen == [(revision, PREFIX)])
        renewed = len(keeper.answers)
        eventually("renewals too", lambda: len(keeper.answers) > renewed)
        assert keeper.broken + watcher.broken == []
        return told


def test_a_member_without_a_majority_refuses_as_etcds_and_goes_on_when_it_returns(
    make_gateways: Callable[..., GatewayCluster], tmp_path: Path
) -> None:
    ours, etcds = make_gateways(3), EtcdCluster(tmp_path)
    try:
        ours.start_with_gateways()
        leader = ours.leader()
        # The leader wakes up as one that was replaced, or goes on; its follower is asked.
        asked, other = ours.others(leader)
        our_pids = [ours.pids[leader], ours.pids[other]]
        with ThreadPoolExecutor(2) as pool:
            of_ours = pool.submit(without_majority, ours.urls[asked], our_pids)
            number = next(n for n, url in enumerate(etcds.etcd_endpoints) if not leads(url))
            others = [etcds.pid(n) for n in range(3) if n != number]
            of_etcds = pool.submit(without_majority, etcds.etcd_endpoints[number], others)
            assert of_ours.result() == of_etcds.result()
    finally:
        etcds.stop()
    assert of_ours.result()["put"] == TIMED_OUT


def test_a_gateway_whose_node_sleeps_asks_the_others_and_refuses_what_only_its_own_can_tell(
    make_gateways: Callable[..., GatewayCluster],
) -> None:
    ours = make_gateways(3)
    ours.start_with_gateways()
    sleeper = ours.leader()
    channel = EtcdChannel([ours.urls[sleeper]])
    channel.put(b"begin", b"")
    watcher = Watcher([ours.urls[sleeper]], PREFIX, 1)
    watcher.start()
    try:
        with asleep([ours.pids[sleeper]]):
            eventually("writes reach the new leader", lambda: channel.put_or_none(PREFIX, b""))
            told = answers_of(channel, 1)
            eventually("its streams send clients to others", lambda: NO_LEADER in watcher.refusals)
        assert [name for name, said in told.items() if said != "an answer"] == ["status"]
        assert told["status"] == TIMED_OUT
        eventually("the watch resumes", lambda: [key for _, key in watcher.seen] == [PREFIX])
        eventually("its own node answers again", lambda: answers_of(channel, 1)["own read"])
    finally:
        watcher.stop()
        channel.close()


def test_managers_have_one_leader_at_a_time_through_two_failovers(
    make_gateways: Callable[..., GatewayCluster],
) -> None:
    ours = make_gateways(3)
    ours.start_with_gateways()
    leader = ours.leader()
    endpoints = [ours.urls[node_id] for node_id in (leader, *ours.others(leader))]
    teams = [Team(GrpcStore, endpoints), Team(HttpStore, endpoints)]
    with ExitStack() as stack:
        for team in teams:
            team.start(stack)
        first = [team.store.look() for team in teams]
        ours.kill(leader)  # which both leading managers talk to
        for team, look in zip(teams, first, strict=True):
            manager = team.managers[0]
            renewals = manager.renewals
            eventually("its lease is renewed", lambda m=manager, r=renewals: m.renewals > r + 2)
            found = eventually("somebody answers", team.looked)
            assert found[:2] == look[:2] == ("m0", look.create_revision)
        ours.start(leader)
        second = ours.leader()
        ours.kill(second)
        for team in teams:  # and, with it, the managers that lead
            team.managers[0].freeze()
        for team in teams:
            others = team.managers[1:]
            eventually("another one leads", lambda others=others: any(m.holds for m in others))
            team.managers[0].thaw()
        for team, look in zip(teams, first, strict=True):
            eventually("one leads", lambda team=team: any(m.holds for m in team.managers))
            found = eventually("somebody answers", team.looked)
            assert found.create_revision > look.create_revision
    for team in teams:
        team.check_one_at_a_time()
