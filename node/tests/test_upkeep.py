"""Leases, watches and housekeeping around a real core and store: what one does, the others see."""

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path
from queue import Queue

import pytest
from runtime import CLIENT, Runtime, ask

from metastore.engines.contract import LeaseChange
from metastore.engines.memory.store import MemoryStore
from metastore.node.housekeeping import Housekeeping
from metastore.node.lease_clock import LeaseClock
from metastore.node.settings import Settings
from metastore.node.upkeep import Upkeep, make_upkeep
from metastore.node.watching import Watching
from metastore.transport import envelope, schema
from metastore.transport.clients import Delivery
from metastore.transport.watch_frames import Events, Watch, Watched


class Bench:
    """A leader alone, with its upkeep; the time is a field."""

    def __init__(self, node: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = node
        self.now_s = 1000.0
        self.sent: list[envelope.NodeFrame] = []
        leases = LeaseClock(node.store, lambda: self.now_s)
        node.store.set_lease_clock(leases.remaining_s)
        housekeeping = Housekeeping(
            node.core,
            node.store,
            leases,
            quota_bytes=1 << 30,
            auto_compact_revisions=10,
            may_propose=lambda: True,
        )
        self.upkeep = Upkeep(leases, housekeeping, Watching(node.store, self._reply))
        monkeypatch.setattr(node.effects, "_on_applied", self.upkeep.on_applied)

    def _reply(self, identity: bytes, frames: Sequence[bytes]) -> Delivery:
        self.sent += [envelope.decode_node_frame(frame) for frame in frames]
        return Delivery.SENT

    def do(self, *operations: schema.Operation) -> None:
        ask(self.node, 1, schema.encode_request(operations))
        self.node.settle()

    def tick(self) -> None:
        self.upkeep.on_tick()
        self.node.settle()

    def keys(self) -> list[bytes]:
        return [key for key, _ in self.node.store.scan()]


@pytest.fixture
def bench(alone: Runtime, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(alone, monkeypatch)


def grant(lease: int, ttl_s: int) -> schema.Operation:
    return (int(schema.Op.LEASE_GRANT), lease, ttl_s)


def keep_alive(lease: int) -> schema.Operation:
    return (int(schema.Op.LEASE_KEEP_ALIVE), lease)


def test_the_keys_of_an_expired_lease_go_and_its_watch_hears_of_it(bench: Bench) -> None:
    bench.do(grant(7, 10), schema.put(b"k", b"v", lease=7))
    bench.upkeep.watching.on_frame(CLIENT, Watch(3, b"k", b"", 0, 0, 100))
    bench.tick()
    assert bench.keys() == [b"k"]
    bench.now_s += 10.1
    bench.tick()
    assert bench.keys() == []
    assert [type(frame) for frame in bench.sent] == [Watched, Events]


def test_a_renewal_that_is_in_the_log_before_the_expiry_saves_the_lease(bench: Bench) -> None:
    bench.do(grant(7, 10), schema.put(b"k", b"v", lease=7))
    bench.now_s += 10.1
    ask(bench.node, 2, schema.encode_request([keep_alive(7)]))
    bench.node.desk.flush()
    bench.tick()
    assert bench.keys() == [b"k"]
    bench.tick()
    assert bench.keys() == [b"k"]


def test_the_time_to_live_is_the_clocks(bench: Bench) -> None:
    bench.do(grant(7, 10))
    bench.now_s += 4
    request = schema.encode_request([(int(schema.Op.LEASE_TIME_TO_LIVE), 7, False)])
    [result] = schema.decode_results(bench.node.store.read(request))
    assert list(result[2:4]) == [6, 10]


def test_checkpoints_survive_in_the_store(bench: Bench, tmp_path: Path) -> None:  # F4
    """A node that reads them after a restart goes on from the last one."""
    bench.do(grant(7, 100))
    bench.now_s += 50
    bench.tick()
    done: Queue[Exception | None] = Queue()
    bench.node.store.save_snapshot(done.put)
    assert done.get(timeout=10) is None
    again = MemoryStore(tmp_path / "snapshots", node_id=1)
    assert again.take_lease_changes() == [LeaseChange(7, 50)]


def test_old_revisions_are_compacted_and_then_physically_gone(bench: Bench) -> None:
    for number in range(40):
        bench.do(schema.put(b"k", b"%d" % number))
    bench.tick()
    assert bench.node.store.compacted_revision == bench.node.store.revision - 10
    before = bench.node.store.size_bytes
    bench.tick()
    while bench.upkeep.turn(is_idle=True):
        continue
    assert bench.node.store.size_bytes < before / 2


def test_the_upkeep_of_a_recovered_node_knows_its_leases(
    alone: Runtime, settings: Settings
) -> None:
    ask(alone, 1, schema.encode_request([grant(7, 100)]))
    alone.settle()
    upkeep = make_upkeep(settings, alone.core, alone.store, alone.desk, lambda *_: Delivery.SENT)
    assert len(upkeep.leases) == 1
    request = schema.encode_request([(int(schema.Op.LEASE_TIME_TO_LIVE), 7, False)])
    [result] = schema.decode_results(alone.store.read(request))
    assert 0 < result[2] <= 100


@pytest.mark.parametrize("event", ["on_installed", "on_saved"])
def test_the_collector_of_cycles_leaves_out_what_lasts(bench: Bench, event: str) -> None:
    """It would walk every key there is, with all threads standing still."""
    gc.unfreeze()
    getattr(bench.upkeep, event)()
    try:
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_a_cycle_that_died_young_is_freed_before_what_lasts_is_left_out(bench: Bench) -> None:
    class Node:
        pass

    gc.disable()
    one = Node()
    one.itself = one  # type: ignore[attr-defined]
    dead = weakref.ref(one)
    del one
    bench.upkeep.on_saved()
    gc.enable()
    gc.unfreeze()
    assert dead() is None
