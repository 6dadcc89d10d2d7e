"""That no plan leaves a cluster which could not go on: quorums, witnesses, the last voter."""

from collections.abc import Collection

import pytest
from member_records import add, founded, join, promote, record, remove, replace_, with_learner

from metastore.node.members.drafts import Nothing, Plan, Refused
from metastore.node.members.planning import plan
from metastore.node.members.records import Membership
from metastore.transport.member_ops import Change
from metastore.transport.schema import Code


def of(*roles: str) -> Membership:
    return founded(*(record(node_id, role) for node_id, role in enumerate(roles, 1)))


def planned(
    membership: Membership, *changes: Change, alive: Collection[int], is_forced: bool = False
) -> Plan | Refused | Nothing:
    return plan(
        membership,
        changes,
        own_id=1,
        alive=alive,
        is_caught_up=lambda _: True,
        is_forced=is_forced,
    )


def refusal(membership: Membership, *changes: Change, alive: Collection[int] = (2, 3, 4)) -> str:
    found = planned(membership, *changes, alive=alive)
    assert isinstance(found, Refused), found
    assert found.code is Code.FAILED_PRECONDITION
    return found.message


def test_who_is_missing_is_named() -> None:
    assert refusal(of(*["voter"] * 4), remove(3), alive=(3,)) == (
        "metastore: the change would lose the quorum: of the voters 1, 2, 4 only 1 answers; "
        "missing: 2, 4. Start them first, or repeat with --force"
    )


def test_how_many_answer_is_told_in_words_that_fit() -> None:
    message = refusal(of(*["voter"] * 6), remove(3), alive=(2, 3))
    assert "of the voters 1, 2, 4, 5, 6 only 2 answer; missing: 4, 5, 6." in message
    message = refusal(of("voter", "voter", "voter"), remove(1), alive=())
    assert "of the voters 2, 3 none answers; missing: 2, 3." in message


@pytest.mark.parametrize("change", [remove(2), replace_(2)], ids=str)
def test_the_quorum_counts_whoever_the_voters_will_be(change: Change) -> None:
    three = of("voter", "voter", "voter")
    assert "would lose the quorum" in refusal(three, change, alive=(2,))
    assert isinstance(planned(three, change, alive=(3,)), Plan), "2 is down and not needed"
    assert isinstance(planned(three, change, alive=(2,), is_forced=True), Plan)


def test_a_promotion_must_not_lose_the_quorum_either() -> None:
    membership = with_learner(of("voter", "voter", "voter"), record(4, "learner"))
    assert "of the voters 1, 2, 3, 4 only 2 answer" in refusal(membership, promote(4), alive=(2,))
    assert isinstance(planned(membership, promote(4), alive=(2, 4)), Plan)


def test_such_a_refusal_may_pass_once_the_leader_has_heard_everybody() -> None:
    found = planned(of("voter", "voter", "voter"), remove(2), alive=())
    assert isinstance(found, Refused)
    assert found.may_pass


@pytest.mark.parametrize("change", [add(4), join(4), remove(5)], ids=str)
def test_who_does_not_vote_comes_and_goes_whoever_is_down(change: Change) -> None:
    membership = with_learner(of("voter", "voter", "voter"), record(5, "learner"))
    assert isinstance(planned(membership, change, alive=()), Plan)


def test_both_halves_of_a_joint_change_need_their_quorum() -> None:
    five = of(*["voter"] * 5)
    assert isinstance(planned(five, remove(4), remove(5), alive=(2, 3)), Plan)
    # The new half alone would do: 1 and 2 of 1, 2, 3.
    assert "of the voters 1, 2, 3, 4, 5 only 2 answer" in refusal(
        five, remove(4), remove(5), alive=(2,)
    )
    # The old half alone would do: 1, 4 and 5 of all.
    assert "of the voters 1, 2, 3 only 1 answers" in refusal(
        five, remove(4), remove(5), alive=(4, 5)
    )


@pytest.mark.parametrize("change", [remove(1), replace_(1)], ids=str)
def test_the_only_voter_stays_even_if_forced(change: Change) -> None:
    membership = with_learner(of("voter"), record(2, "learner"))
    found = planned(membership, change, alive=(2,), is_forced=True)
    assert isinstance(found, Refused)
    assert found.message == (
        "metastore: the only voter cannot be taken out of its cluster; add another node and wait "
        "until it votes, or stop this one to end the cluster"
    )


def test_all_voters_at_once_stay_too() -> None:
    assert isinstance(
        planned(of("voter", "voter"), remove(1), remove(2), alive=(2,), is_forced=True), Refused
    )


def test_witnesses_never_vote_alone_even_if_forced() -> None:
    found = planned(of("voter", "witness"), remove(1), alive=(2,), is_forced=True)
    assert isinstance(found, Refused)
    assert found.message == (
        "metastore: only witnesses would vote (2), and they hold no data; add a voter first"
    )


def test_witnesses_do_not_become_the_majority_unless_forced() -> None:
    membership = with_learner(of("voter", "witness"), record(3, "witness"))
    assert refusal(membership, promote(3)) == (
        "metastore: witnesses would be the majority (2, 3 of the voters 1, 2, 3), and what they "
        "acknowledge may be on one node alone; add a voter first, or repeat with --force"
    )
    assert isinstance(planned(membership, promote(3), alive=(2, 3), is_forced=True), Plan)


def test_half_of_the_voters_may_be_witnesses() -> None:
    assert isinstance(planned(of("voter", "voter", "witness"), remove(2), alive=(3,)), Plan)


def test_a_cluster_founded_with_too_many_witnesses_may_be_made_better() -> None:
    founded_so = of("voter", "witness", "witness", "witness")
    better = with_learner(founded_so, record(5))
    assert isinstance(planned(better, promote(5), alive=(2, 3, 4, 5)), Plan)
    worse = with_learner(founded_so, record(5, "witness"))
    assert "would be the majority" in refusal(worse, promote(5), alive=(2, 3, 4, 5))
