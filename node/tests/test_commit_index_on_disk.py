"""How far a node knew the log to be committed is on its disk with what it appends after that."""

from collections.abc import Callable

from leader_messages import append, normal, put
from runtime import Runtime

from metastore.node.disk import Append

MakeRuntime = Callable[..., Runtime]


def commit_index_on_disk(node: Runtime) -> int:
    """Of the appends that wait for the disk, and are not taken back."""
    states = [job.message.hard_state for job in node.disk.jobs if isinstance(job, Append)]
    return max(state.commit_index for state in states if state is not None)


def test_a_commit_index_that_came_alone_goes_to_the_disk_with_the_next_entry(
    make_runtime: MakeRuntime,
) -> None:
    # E1 over a restart (node/raft/tests/test_single_changes.py): with a change of the members on
    # its disk and not the commit of the one before, a node elects by a configuration of the past.
    node = make_runtime((1, 2, 3))
    node.step(append([normal(2, put(b"a"))], commit=1))
    node.settle()
    node.step(append([], commit=2, prev=2))
    assert not node.disk.jobs
    node.step(append([normal(3, put(b"b"))], commit=2, prev=2))
    assert commit_index_on_disk(node) == 2


def test_a_leader_writes_how_far_it_committed_with_its_next_entry(
    make_runtime: MakeRuntime,
) -> None:
    node = make_runtime((1,))
    node.core.campaign()
    node.turn()
    node.settle()
    committed = node.core.commit_index
    node.core.propose(put(b"a"))
    node.turn()
    assert committed > 1
    assert commit_index_on_disk(node) == committed
