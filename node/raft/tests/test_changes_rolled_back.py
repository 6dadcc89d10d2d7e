"""A change that was appended and never committed (scenario E4), over cuts, restarts and rollback.

The configuration in force is that of what is applied; a truncated change was never in force, so
there is nothing that could be restored wrongly.
"""

import pytest
from member_network import Broken, MemberNetwork, MemberServer
from member_server import Stage
from sabotaged_members import Hasty

from metastore.node.raft.model import EntryType, Transition

BEFORE = "voters=(1 2 3) learners=(4)"
CHANGES = ["v4", "r3", "l3", "l5", "r4", "v4 r3", "v5 l1 r2"]


def a_change_is_overwritten(
    text: str, *, restarts: bool, server: type[MemberServer] = MemberServer
) -> MemberNetwork:
    """1 appends a change that nobody gets; 2 leads and decides something else; 1 comes back."""
    network = MemberNetwork(learners=(4,), server=server)
    network.elect(1)
    network.settle()
    network.part((2, 3, 4))
    network.change(1, text)
    assert network[1].uncommitted()[-1].type is EntryType.CONFIGURATION
    if restarts:
        network.kill(1)
        network.restart(1)
    network.run(lambda: network[2].leads or network[3].leads, "one of the others leads")
    leader = network[2] if network[2].leads else network[3]
    network.propose(leader.id, "instead")
    network.settle(2, 3)
    network.heal()
    network.settle(1, 2, 3, 4)
    return network


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("text", CHANGES)
def test_an_overwritten_change_leaves_the_configuration_as_it_was(
    text: str, restarts: bool
) -> None:
    network = a_change_is_overwritten(text, restarts=restarts)
    assert {network[node].members for node in (1, 2, 3, 4)} == {BEFORE}
    assert all(network[node].data == ["instead"] for node in (1, 2, 3, 4))
    network.kill(1, 2, 3, 4, power=False)
    network.restart(1, 2, 3, 4)
    network.run(lambda: network.leader is not None, "somebody leads")
    network.settle()
    assert {network[node].members for node in (1, 2, 3, 4)} == {BEFORE}


@pytest.mark.parametrize("text", CHANGES)
def test_twin_a_change_in_force_when_written_outlives_its_entry(text: str) -> None:
    with pytest.raises(Broken):
        a_change_is_overwritten(text, restarts=False, server=Hasty)


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("stage", list(Stage))
def test_a_change_whose_leader_dies_at_any_step_is_made_wholly_or_not_at_all(
    stage: Stage, power: bool
) -> None:
    network = MemberNetwork(learners=(4,))
    network.elect(1)
    network.settle()
    network[1].dies_at = stage
    network.change(1, "v4 r3", transition=Transition.JOINT_IMPLICIT)
    network.kill(1, power=power)
    network.run(lambda: network.leader is not None, "somebody leads")
    network.restart(1)
    network.run(lambda: network.leader is not None, "somebody leads")
    network.steps(60)
    network.settle()
    assert network[1].members in (BEFORE, "voters=(1 2 4)")
    assert network[1].members == network[2].members == network[4].members


@pytest.mark.parametrize("text", ["v4", "v4 r3"])
def test_a_follower_that_was_killed_starts_with_the_configuration_of_its_last_snapshot(
    text: str,
) -> None:
    network = MemberNetwork(learners=(4,))
    network.elect(1)
    network.settle()
    for server in network.servers.values():
        server.take_snapshot(trailing=0)
    network.change(1, text)
    network.run(lambda: network[2].members != BEFORE, "a change")
    network.settle()
    after = network[2].members
    network.kill(2)
    network.restart(2)
    assert network[2].members == BEFORE
    network.settle()
    assert network[2].members == after


def test_twin_a_late_configuration_is_found_by_the_checker() -> None:
    """Who loses a change over a restart: its snapshot says it was applied, and it was not."""
    network = MemberNetwork()
    network.add(4)
    network.add(5)
    network.elect(1)
    network.change(1, "v4")
    network.settle()
    network.kill(2)
    disk = network[2].disk
    first = disk.written.snapshot().configuration
    index = network[2].applied_index
    disk.write(lambda storage: (storage.create_snapshot(index, first), None)[1])
    network.restart(2)
    network.change(1, "l5")
    with pytest.raises(Broken, match="another had"):
        network.settle()
