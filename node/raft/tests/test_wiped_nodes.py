"""A node whose disk is gone, and comes back under its id (scenario E3, for the cores alone).

What it had acknowledged and promised is forgotten. Nobody talks to it, for its data directory is
not the one on record, until the sequence of `member replace` is done: out of the configuration, in
again as a learner with its new directory, promoted. Its first message then comes after a quorum of
the others holds its removal, and whoever lacks that cannot win any more.
"""

from typing import Any

import pytest
from member_checks import LOST
from member_network import Broken, MemberNetwork, MemberServer
from membership_mix import Mix
from seeds import TIMEOUT_SECONDS, run_seeds

pytestmark = pytest.mark.timeout(TIMEOUT_SECONDS)

SEEDS = 40


def what_only_the_wiped_node_had(**settings: Any) -> MemberNetwork:
    """1 and 3 decide something without 2. 3 is wiped and comes back; 1 is away."""
    network = MemberNetwork(**settings)
    network.elect(1)
    network.settle()
    network.part((1, 3))
    network.propose(1, "acknowledged")
    network.settle(1, 3)
    network.wipe(3)
    network.part((2, 3))
    network.steps(60)
    network.heal()
    network.run(lambda: network.leader is not None, "somebody leads")
    return network


def test_a_wiped_node_that_is_not_talked_to_gives_no_vote() -> None:
    network = what_only_the_wiped_node_had()
    network.settle(1, 2)
    assert network[2].data == ["acknowledged"]
    assert network[3].core.last_index == 0


def test_twin_a_wiped_node_that_is_let_in_votes_away_what_was_acknowledged() -> None:
    with pytest.raises(Broken, match=LOST):
        what_only_the_wiped_node_had(is_admission_checked=False)


def a_vote_given_twice(**settings: Any) -> MemberNetwork:
    """3 elects 1, is wiped, and is asked by 2 in the same term."""
    network = MemberNetwork(pre_vote=False, check_quorum=False, **settings)
    network.part((1, 3))
    network[1].core.campaign()
    network.run(lambda: network[1].leads, "an election")
    network.wipe(3)
    network.part((2, 3))
    network[2].core.campaign()
    network.steps(6)
    return network


def test_a_vote_is_not_given_again_by_a_wiped_node() -> None:
    assert not a_vote_given_twice()[2].leads


def test_twin_a_wiped_node_that_is_let_in_elects_a_second_leader_in_one_term() -> None:
    with pytest.raises(Broken, match="both lead"):
        a_vote_given_twice(is_admission_checked=False)


def test_replacing_a_wiped_node_brings_it_back_with_all_the_data() -> None:
    network = what_only_the_wiped_node_had()
    leader = network.leader
    assert leader is not None
    network.change(leader.id, "r3", directories={3: 0})
    network.settle(1, 2)
    network.change(leader.id, "l3", directories={3: network[3].disk.directory_id})
    network.settle(1, 2, 3)
    network.change(leader.id, "v3")
    network.settle(1, 2, 3)
    assert network[3].data == ["acknowledged"]
    assert network[3].members == "voters=(1 2 3)"
    network.kill(leader.id)
    network.run(lambda: network.leader is not None, "its vote counts again")


def a_replaced_leader_and_one_that_was_down(**settings: Any) -> MemberNetwork:
    """While 2 is down, 3 is wiped, replaced, and made leader."""
    network = MemberNetwork(**settings)
    network.elect(1)
    network.settle()
    network.kill(2)
    for node_id in (4, 5):
        network.add(node_id)
        for text in (f"l{node_id}", f"v{node_id}"):
            network.change(1, text)
            network.settle(node_id)
    network.wipe(3)
    directory = network[3].disk.directory_id
    for text, directories in (("r3", {3: 0}), ("l3", {3: directory}), ("v3", {})):
        network.change(1, text, directories=directories)
        network.settle(4, 5)
    network.settle(3)
    network.transfer(3)
    network.restart(2)
    network.settle()
    return network


def test_a_member_that_was_down_learns_of_a_replaced_leader_by_asking() -> None:
    assert a_replaced_leader_and_one_that_was_down()[2].members == "voters=(1 2 3 4 5)"


def test_twin_one_that_goes_by_its_old_record_alone_refuses_its_leader_for_ever() -> None:
    with pytest.raises(Broken, match="all as far as the leader"):
        a_replaced_leader_and_one_that_was_down(is_asked=False)


class WipingMix(Mix):
    """Of five voters one at a time loses its disk, and is replaced while all else goes on."""

    def __init__(self, seed: int, **settings: Any) -> None:
        super().__init__(seed, voters=(1, 2, 3, 4, 5), **settings)
        del self.actions[self.change]
        self.actions |= {self.wipe: 4, self.replace: 15}
        self.wiped: int | None = None
        self.replaced_count = 0

    def recover(self) -> None:
        """As always, after the last replacement has come to its end."""
        self.revive()
        self.network.run(self._is_replaced, "the wiped node is replaced")
        super().recover()

    def _is_replaced(self) -> bool:
        self.replace()
        return self.wiped is None

    def wipe(self) -> None:
        if self.wiped is None and self.network.leader is not None:
            self.wiped = self.random.choice(sorted(self.network.servers))
            self.network.wipe(self.wiped)

    def replace(self) -> None:
        """The next step of it, if whoever takes itself for the leader can make it."""
        leader = self._some_leader()
        if self.wiped is None or leader is None:
            return
        self._replace(leader, self.wiped, self.network[self.wiped].disk.directory_id)

    def _replace(self, leader: MemberServer, wiped: int, directory: int) -> None:
        raft = leader.core.raft
        is_new = leader.directories[wiped] == directory
        if wiped in raft.configuration.voters and not is_new:
            self.network.change(leader.id, f"r{wiped}", directories={wiped: 0})
        elif wiped not in raft.tracker.progress:
            self.network.change(leader.id, f"l{wiped}", directories={wiped: directory})
        elif wiped in raft.configuration.learners:
            if self._is_caught_up(leader, raft.tracker.progress[wiped]):
                self.network.change(leader.id, f"v{wiped}")
        elif is_new:
            self.wiped = None
            self.replaced_count += 1


def test_replacing_wiped_nodes_among_cuts_and_kills_loses_nothing() -> None:
    counts = []

    def run(seed: int) -> None:
        mix = WipingMix(seed)
        mix.run()
        counts.append(mix.replaced_count)

    run_seeds(SEEDS, run, "replacing_wiped_nodes", __file__)
    assert sum(counts) >= len(counts) // 4  # else this shows nothing


class Careless(WipingMix):
    """A wiped node is let in, and nobody replaces it."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, is_admission_checked=False)

    def replace(self) -> None:
        self.wiped = None


def test_twin_wiped_nodes_that_are_let_in_lose_something_within_a_few_seeds() -> None:
    def run_all() -> None:
        for seed in range(60):
            Careless(seed).run()

    with pytest.raises(Exception, match=rf"{LOST}|not what was acknowledged|beyond the last"):
        run_all()
