"""Two changes by two leaders (scenario E1), and what keeps them apart here.

The counter-example: a leader appends a change that one voter gets; another leader, of a later term,
appends another one before an entry of its term is committed; both go by what stands in their own
log, and decide without each other. Here a change is in force once it is applied, no leader appends
one before it has applied all that it inherited and the one before, and nobody campaigns over a
committed change that it has not applied.
"""

from typing import Any

import pytest
from member_checks import LOST
from member_network import Broken, MemberNetwork
from sabotaged_members import AtOnce


def two_leaders_add_a_member_each(**settings: Any) -> MemberNetwork:
    """Of 1 to 4: 1 adds 5, alone with it. 4 elects 2 but hears no more of it; 2 adds 6, before an
    entry of its term is committed. Then 5 wants to lead, with 1 and 4."""
    network = MemberNetwork(voters=(1, 2, 3, 4), check_quorum=False, pre_vote=False, **settings)
    network.checks.are_configurations_compared = False
    network.add(5)
    network.add(6)
    network.elect(1)
    network.settle()
    network.part((1, 5), (2, 3, 4, 6))
    network.change(1, "v5")
    network.steps(5)
    network[2].core.campaign()
    network.run(lambda: network[2].leads, "an election")
    network.part((1, 5), (2, 3, 6))
    network.change(2, "v6")
    network.propose(2, "of the second leader")
    network.steps(5)
    network.part((1, 4, 5), (2, 3, 6))
    network[4].core.set_randomized_election_timeout(100)
    for _ in range(2):  # its first term is that of the second leader
        network[5].core.campaign()
        network.steps(5)
    network.propose(5, "of the first leader's side")
    network.steps(5)
    return network


def test_a_change_of_an_old_leader_gives_it_no_quorum_of_its_own() -> None:
    network = two_leaders_add_a_member_each()
    assert not network[5].data
    network.heal()
    network.settle()
    assert network[1].members in ("voters=(1 2 3 4 5)", "voters=(1 2 3 4 6)")


def test_twin_with_changes_in_force_when_appended_two_leaders_decide_apart() -> None:
    with pytest.raises(Broken, match=LOST):
        two_leaders_add_a_member_each(server=AtOnce)


def a_leader_that_does_not_wait(**settings: Any) -> MemberNetwork:
    """1 adds 4 and, without waiting, 5. 2 has both in its log and knows nothing of their commit;
    1, 4 and 5 decide something, and 2 wants to lead with 3."""
    network = MemberNetwork(check_quorum=False, **settings)
    network.add(4)
    network.add(5)
    network.elect(1)
    network.settle()
    network.cut((1, 3), (2, 1))  # 3 hears nothing, 2 is not heard
    network.change(1, "v4")
    network.change(1, "v5")
    network.steps(3)
    network.part((1, 3))
    network.steps(10)
    network.part((1, 4, 5), (2, 3))
    network.propose(1, "decided by three of five")
    network.steps(5)
    network[2].core.campaign()
    network.steps(10)
    return network


def test_twin_two_changes_on_the_way_at_once_lose_what_is_decided() -> None:
    # The leader does not wait for the first change to be applied before it appends the second.
    with pytest.raises(Broken, match=LOST):
        a_leader_that_does_not_wait(disable_change_validation=True)


def test_the_second_change_waits_for_the_first_one() -> None:
    network = a_leader_that_does_not_wait()
    assert network[1].members == "voters=(1 2 3 4)"
    assert not network[1].data
    assert network.checks.changes_of_one_log_max == 1


def a_restart_with_a_change_to_apply(**settings: Any) -> MemberNetwork:
    """Both changes are decided; the log of 1 has them, and it starts again from before them. 4
    leads, and decides with 3 and 5; then 1 wants to lead with 2."""
    network = MemberNetwork(check_quorum=False, **settings)
    network.add(4)
    network.add(5)
    network.elect(1)
    network.settle()
    network.part((1, 2, 4, 5))
    network.change(1, "v4")
    network.settle(2, 4)
    network.change(1, "v5")
    network.settle(2, 4, 5)
    network.kill(1)
    network.part((3, 4, 5))
    network.elect(4)
    network.propose(4, "decided by three of five")
    network.settle(3, 5)
    network.restart(1)
    network.part((3, 4, 5), (1, 2))
    network.steps(60)
    return network


def test_whoever_has_a_change_on_disk_knows_there_that_the_one_before_was_committed() -> None:
    network = a_restart_with_a_change_to_apply()
    assert not network[1].leads
    assert network[4].data == ["decided by three of five"]


def test_twin_a_forgotten_commit_index_elects_by_a_configuration_of_the_past() -> None:
    # No entry went to the disk with it, so it was not written: neither then nor with the next one.
    with pytest.raises(Broken, match=LOST):
        a_restart_with_a_change_to_apply(forgets_commit_index=True)
