"""The same random operations against a real etcd and a real node of each engine: no difference.

METASTORE_COMPARED_STEPS sets how many operations are drawn (5,000 unless told); a failing run
prints the operations that show the difference, shrunk, and the seed. What differs on purpose is
listed in docs/guide/differences-from-etcd.md.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from compared_systems import Answer, Etcd, Node
from etcd_process import EtcdProcess
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from node_processes import NodeProcesses
from operations_drawn import (
    EVERYTHING,
    Drawn,
    Placing,
    deletes,
    keys_outside_txn,
    puts,
    ranges,
    txns,
)

from metastore.transport import schema

STEPS = int(os.environ.get("METASTORE_COMPARED_STEPS", "5000"))
STEPS_PER_EXAMPLE = 50
ENGINES = ("memory", "rocksdb")
STEPS_PER_S_AT_LEAST = 25  # on a slow machine that has other tests to run


@pytest.fixture(scope="module")
def systems(xprocess: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Etcd | Node]]:
    with ExitStack() as stack:
        etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
        stack.callback(etcd.stop)
        found: list[Etcd | Node] = [Etcd(etcd.port)]
        for engine in ENGINES:
            folder = tmp_path_factory.mktemp(engine)
            node = NodeProcesses(xprocess, folder, 1, ("--sync", "never"), engine=engine)
            stack.callback(node.stop)
            node.start()
            node.leader()
            found.append(Node(engine, node.address(1, "client")))
        for system in found:
            stack.callback(system.close)
        yield found


class Comparison(RuleBasedStateMachine):
    """Asks all systems the same. Each one's `base` is its revision when the example began: what is
    compared is relative to it, so that one difference does not spoil the examples after it."""

    systems: list[Etcd | Node]
    lease_base = 0
    compared_count = 0

    @initialize()
    def begin(self) -> None:
        Comparison.lease_base += 100
        everything = schema.delete_range(*EVERYTHING)
        for system in self.systems:
            system.ask(everything)
            system.base = system.revision()
        self.revision = 0  # relative to each one's base
        self.compacted = 0

    def same(self, make: Callable[[Placing], schema.Operation]) -> Answer:
        answers = [
            system.ask(make(Placing(system.base + self.revision, self.lease_base)))
            for system in self.systems
        ]
        for system, answer in zip(self.systems[1:], answers[1:], strict=True):
            assert answer == answers[0], f"{system.name} differs from etcd"
        Comparison.compared_count += 1
        if answers[0][0] != "error":
            self.revision = answers[0][0]
        return answers[0]

    @rule(drawn=puts(keys_outside_txn))
    def put(self, drawn: Drawn) -> None:
        self.same(lambda placing: placing.place(drawn))

    @rule(drawn=deletes())
    def delete(self, drawn: Drawn) -> None:
        self.same(lambda placing: placing.place(drawn))

    @rule(drawn=ranges())
    def range(self, drawn: Drawn) -> None:
        self.same(lambda placing: placing.place(drawn))

    @rule(drawn=txns())
    def txn(self, drawn: Drawn) -> None:
        self.same(lambda placing: placing.place(drawn))

    @rule(relative=st.sampled_from((-12, -8, -4, -2, -1, 0, 1)), physical=st.booleans())
    def compact(self, relative: int, physical: bool) -> None:
        revision = self.revision + relative

        def make(placing: Placing) -> schema.Operation:
            return (schema.Op.COMPACT, placing.newest + relative, physical)

        if self.same(make)[0] != "error":
            self.compacted = revision

    @rule(number=st.integers(1, 3), ttl_s=st.sampled_from((60, 600, 0, -5, 9_000_000_001)))
    def grant(self, number: int, ttl_s: int) -> None:
        # A short one would really expire while it is compared.
        if ttl_s > 0:
            self.same(lambda placing: (schema.Op.LEASE_GRANT, placing.lease(number), ttl_s))

    @rule(number=st.integers(1, 4))
    def revoke(self, number: int) -> None:
        self.same(lambda placing: (schema.Op.LEASE_REVOKE, placing.lease(number)))

    @rule(number=st.integers(1, 4), keys=st.booleans())
    def time_to_live(self, number: int, keys: bool) -> None:
        self.same(lambda placing: (schema.Op.LEASE_TIME_TO_LIVE, placing.lease(number), keys))

    @rule()
    def leases(self) -> None:
        self.same(lambda placing: (schema.Op.LEASES,))

    def teardown(self) -> None:
        if not hasattr(self, "revision"):
            return
        self.same(lambda placing: schema.range_(*EVERYTHING))
        self.same(lambda placing: schema.put(b"the end", b""))
        first = max(1, self.compacted + 1)
        watched = [system.watch(*EVERYTHING, first, self.revision) for system in self.systems]
        for system, events in zip(self.systems[1:], watched[1:], strict=True):
            assert events == watched[0], f"{system.name} sends other events than etcd"
        for number in range(1, 4):
            self.same(lambda placing, n=number: (schema.Op.LEASE_REVOKE, placing.lease(n)))


@pytest.mark.timeout(60 + STEPS / STEPS_PER_S_AT_LEAST)
def test_the_same_operations_have_the_same_answers(systems: list[Etcd | Node]) -> None:
    Comparison.systems = systems
    Comparison.compared_count = 0
    while Comparison.compared_count < STEPS:  # an example may end early, a rule may ask nothing
        missing = STEPS - Comparison.compared_count
        run_state_machine_as_test(
            Comparison,
            settings=settings(
                max_examples=max(1, missing // STEPS_PER_EXAMPLE),
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
