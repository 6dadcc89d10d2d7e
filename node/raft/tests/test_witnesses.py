"""A witness votes, acknowledges and never leads: two nodes with data survive the loss of any one.

It holds the log without the data of its entries, so whatever it acknowledged it cannot give back:
it must never lead, and after the loss of the one that has the data there is nobody to be elected.
"""

import random
from typing import Any

import pytest
from member_checks import Broken
from member_network import MemberNetwork
from membership_mix import Mix
from raft_network import Network, Server
from seeds import TIMEOUT_SECONDS, run_seeds

from metastore.node.raft.messages import AppendEntries, RequestVoteReply, TimeoutNow
from metastore.node.raft.model import Entry, EntryType, Role

pytestmark = pytest.mark.timeout(TIMEOUT_SECONDS)

SEEDS = 40
A, B, WITNESS = 1, 2, 3


def three(seed: int = 0, **settings: Any) -> MemberNetwork:
    return MemberNetwork(seed, voters=(A, B, WITNESS), witnesses=(WITNESS,), **settings)


# What never campaigning means for one core


def test_it_starts_no_election_whatever_happens() -> None:
    server = Server(1, never_campaigns=True)
    server.tick(100)
    server.core.campaign()
    server.step(AppendEntries(sender=2, to=1, term=1))
    server.step(TimeoutNow(sender=2, to=1, term=1))
    server.tick(100)
    assert server.core.role is Role.FOLLOWER
    assert server.core.term == 1
    assert not [one for one in server.read() if isinstance(one, RequestVoteReply)]


def test_not_even_as_the_only_voter() -> None:
    server = Server(1, voters=(1,), never_campaigns=True)
    server.tick(100)
    server.core.campaign()
    assert server.core.role is Role.FOLLOWER


@pytest.mark.parametrize("pre_vote", [False, True])
def test_it_grants_votes_and_acknowledges_entries(pre_vote: bool) -> None:
    network = Network(
        Server(1, voters=(1, 2), pre_vote=pre_vote),
        Server(2, voters=(1, 2), pre_vote=pre_vote, never_campaigns=True),
    )
    network.hup(1)
    network.prop(1, b"data")
    assert network[1].core.role is Role.LEADER
    assert network[1].core.commit_index == 2
    assert network[2].data == [b"data"]


def test_a_leadership_that_is_handed_to_it_comes_back_after_an_election_timeout() -> None:
    network = Network(Server(1), Server(2), Server(3, never_campaigns=True))
    network.hup(1)
    network[1].core.transfer_leadership(3)
    network.settle()
    network.tick(1, 10)
    network.prop(1, b"still here")
    assert network[1].core.role is Role.LEADER
    assert network[3].core.role is Role.FOLLOWER


# Two nodes with data, and it


@pytest.mark.parametrize("lost", [A, B, WITNESS])
def test_the_loss_of_any_one_of_three_stops_nothing(lost: int) -> None:
    network = three()
    network.elect(A)
    network.propose(A, "before")
    network.settle()
    network.kill(lost)
    network.run(lambda: network.leader is not None, "one with data leads")
    leader = network.leader
    assert leader is not None
    assert leader.id != WITNESS
    network.propose(leader.id, "after")
    network.run(lambda: leader.data == ["before", "after"], "it decides with the other one")


def test_it_holds_the_entries_and_not_their_data() -> None:
    network = three()
    network.elect(A)
    network.propose(A, "data")
    network.settle()
    first, last = 2, network[A].core.last_index + 1
    held = network[WITNESS].disk.written.entries(first, last, 1 << 20)
    full = network[A].disk.written.entries(first, last, 1 << 20)
    assert [(one.index, one.term) for one in held] == [(one.index, one.term) for one in full]
    assert all(not one.data for one in held)
    assert any(one.data for one in full)


def the_one_with_the_data_is_lost(**settings: Any) -> MemberNetwork:
    """A and the witness decide something that B has not; then A is gone."""
    network = three(**settings)
    network.elect(A)
    network.settle()
    network.part((A, WITNESS))
    network.propose(A, "not on B")
    network.settle(A, WITNESS)
    network.kill(A)
    network.heal()
    network.steps(300)
    return network


def test_nobody_is_elected_when_the_one_that_is_left_lacks_what_was_decided() -> None:
    # The limit of witnesses, as documented: it waits for A, and nothing is lost.
    network = the_one_with_the_data_is_lost()
    assert network.leader is None
    network.restart(A)
    network.settle()
    assert network[B].data == ["not on B"]


def test_twin_a_witness_that_campaigns_passes_on_emptiness_for_data() -> None:
    with pytest.raises(Broken, match=r"two entries|was committed as"):
        the_one_with_the_data_is_lost(never_campaigns=False)


class WitnessMix(Mix):
    """Two nodes with data and a witness; learners with data may come and go."""

    def __init__(self, seed: int) -> None:
        witnesses = (WITNESS,)
        super().__init__(seed, voters=(A, B, WITNESS), witnesses=witnesses)
        del self.actions[self.change]
        self.actions[self.grow_or_shrink] = 6

    def grow_or_shrink(self) -> None:
        leader = self._some_leader()
        if leader is None:
            return
        if 4 not in self.network.servers:
            self.network.add(4)
        progress = leader.core.raft.tracker.progress
        kinds = ("v4", "r4", "l4") if 4 in progress else ("l4",)
        self.network.change(leader.id, self.random.choice(kinds))


def test_with_a_witness_no_seed_loses_a_decided_entry_and_it_never_leads() -> None:
    def run(seed: int) -> None:
        mix = WitnessMix(seed)
        mix.run()
        assert WITNESS not in mix.network.checks.leaders.values()
        kinds = {entry.type for entry in _entries(mix.network)}
        assert kinds <= set(EntryType)
        assert not any(entry.data for entry in _entries(mix.network) if not entry.type)

    run_seeds(SEEDS, run, "with_a_witness", __file__)


def _entries(network: MemberNetwork) -> list[Entry]:
    """What the witness has on its disk."""
    storage = network[WITNESS].disk.written
    low, high = storage.first_index(), storage.last_index() + 1
    return list(storage.entries(low, high, 1 << 20)) if low < high else []


def test_a_choice_of_seeds_is_the_same_every_time() -> None:
    def trace(seed: int) -> tuple[object, ...]:
        mix = WitnessMix(seed)
        mix.run()
        return sorted(mix.network.checks.leaders.items()), mix.acknowledged, mix.network.now

    seed = random.Random(1).randrange(1000)
    assert trace(seed) == trace(seed)
