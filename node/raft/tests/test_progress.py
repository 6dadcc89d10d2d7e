"""A peer's progress (PAPER_TESTS D1-D5; SPEC 4.6, 6.4)."""

import pytest

from metastore.node.raft.model import RaftFailed
from metastore.node.raft.progress import Inflights, Progress, ProgressState

PROBE, REPLICATE, SNAPSHOT = ProgressState.PROBE, ProgressState.REPLICATE, ProgressState.SNAPSHOT


def progress(state: ProgressState, match: int, next_index: int, pending: int = 0) -> Progress:
    return Progress(
        Inflights(256),
        match_index=match,
        next_index=next_index,
        state=state,
        pending_snapshot=pending,
        recently_active=True,
    )


# D1


def test_the_text_of_a_progress_holds_all_parts_in_order() -> None:
    inflights = Inflights(1)
    inflights.add(123, 1)
    peer = Progress(inflights, 1, 2, SNAPSHOT, pending_snapshot=123, is_learner=True)
    expected = (
        "StateSnapshot match=1 next=2 learner paused pendingSnap=123 inactive inflight=1[full]"
    )
    assert str(peer) == expected


def test_the_text_of_a_progress_leaves_out_what_does_not_apply() -> None:
    peer = progress(REPLICATE, 3, 6)
    assert str(peer) == "StateReplicate match=3 next=6"
    peer.inflights.add(5, 1)
    assert str(peer) == "StateReplicate match=3 next=6 inflight=1"


# D2


@pytest.mark.parametrize(
    ("state", "flag", "paused"),
    [
        (PROBE, False, False),
        (PROBE, True, True),
        (REPLICATE, False, False),
        (REPLICATE, True, True),
        (SNAPSHOT, False, True),
        (SNAPSHOT, True, True),
    ],
)
def test_a_peer_is_paused_by_its_flag_and_always_during_a_snapshot(
    state: ProgressState, flag: bool, paused: bool
) -> None:
    peer = progress(state, 1, 2)
    peer.flow_paused = flag
    assert peer.is_paused is paused


def test_a_decrement_that_counts_clears_the_flag_and_a_stale_one_does_not() -> None:
    peer = progress(PROBE, 0, 2)
    peer.flow_paused = True
    assert not peer.maybe_decrease(9, 9)
    assert peer.flow_paused
    assert peer.maybe_decrease(1, 1)
    assert not peer.flow_paused


def test_an_update_that_counts_clears_the_flag_and_an_old_one_does_not() -> None:
    peer = progress(PROBE, 1, 2)
    peer.flow_paused = True
    assert not peer.maybe_update(1)
    assert peer.flow_paused
    assert peer.maybe_update(2)
    assert not peer.flow_paused


# D3


@pytest.mark.parametrize(
    ("state", "pending", "next_index"),
    [(REPLICATE, 0, 2), (SNAPSHOT, 10, 11), (SNAPSHOT, 0, 2)],
)
def test_probing_starts_after_the_matched_entry_or_the_pending_snapshot(
    state: ProgressState, pending: int, next_index: int
) -> None:
    peer = progress(state, 1, 5, pending)
    peer.become_probe()
    assert (peer.state, peer.match_index, peer.next_index) == (PROBE, 1, next_index)
    assert peer.pending_snapshot == 0


def test_replicating_starts_after_the_matched_entry() -> None:
    peer = progress(PROBE, 1, 5)
    peer.become_replicate()
    assert (peer.state, peer.match_index, peer.next_index) == (REPLICATE, 1, 2)


def test_a_snapshot_under_way_is_remembered_with_the_commit_index_it_tells() -> None:
    peer = progress(PROBE, 1, 5)
    peer.become_snapshot(10)
    assert (peer.state, peer.match_index, peer.next_index) == (SNAPSHOT, 1, 11)
    assert (peer.pending_snapshot, peer.sent_commit) == (10, 10)


@pytest.mark.parametrize("change", ["become_probe", "become_replicate"])
def test_every_change_of_state_empties_the_window_and_clears_the_flag(change: str) -> None:
    peer = progress(REPLICATE, 1, 5)
    peer.inflights.add(4, 1)
    peer.flow_paused = True
    getattr(peer, change)()
    assert peer.inflights.count == 0
    assert not peer.flow_paused


# D4


@pytest.mark.parametrize(
    ("index", "counts", "match", "next_index"),
    [(2, False, 3, 5), (3, False, 3, 5), (4, True, 4, 5), (5, True, 5, 6)],
)
def test_an_acknowledgement_raises_match_and_never_lowers_next(
    index: int, counts: bool, match: int, next_index: int
) -> None:
    peer = progress(PROBE, 3, 5)
    assert peer.maybe_update(index) is counts
    assert (peer.match_index, peer.next_index) == (match, next_index)


def test_an_acknowledgement_leaves_next_where_the_pipeline_has_come() -> None:
    peer = progress(REPLICATE, 3, 9)
    peer.maybe_update(4)
    assert (peer.match_index, peer.next_index) == (4, 9)


# D5


@pytest.mark.parametrize(
    ("state", "match", "next_index", "rejected", "hint", "counts", "expected_next"),
    [
        (REPLICATE, 5, 10, 5, 5, False, 10),
        (REPLICATE, 5, 10, 4, 4, False, 10),
        (REPLICATE, 5, 10, 9, 9, True, 6),
        (PROBE, 0, 0, 0, 0, False, 0),
        (PROBE, 0, 10, 5, 5, False, 10),
        (PROBE, 0, 10, 9, 9, True, 9),
        (PROBE, 0, 2, 1, 1, True, 1),
        (PROBE, 0, 1, 0, 0, True, 1),
        (PROBE, 0, 10, 9, 2, True, 3),
        (PROBE, 0, 10, 9, 0, True, 1),
        (PROBE, 4, 10, 9, 2, True, 5),
    ],
)
def test_a_rejection_moves_next_back_unless_it_is_stale(
    state: ProgressState,
    match: int,
    next_index: int,
    rejected: int,
    hint: int,
    counts: bool,
    expected_next: int,
) -> None:
    peer = progress(state, match, next_index)
    assert peer.maybe_decrease(rejected, hint) is counts
    assert (peer.match_index, peer.next_index) == (match, expected_next)


# SPEC 6.4: sending, and the commit index told


def test_replicating_moves_next_and_takes_one_slot_per_message() -> None:
    peer = progress(REPLICATE, 3, 4)
    peer.sent_entries(3, 100)
    assert (peer.next_index, peer.inflights.count, peer.flow_paused) == (7, 1, False)
    peer.inflights.free_to(5)
    assert peer.inflights.count == 1
    peer.inflights.free_to(6)
    assert peer.inflights.count == 0


def test_replicating_pauses_when_the_window_is_full_even_after_an_empty_message() -> None:
    peer = Progress(Inflights(1), state=REPLICATE)
    peer.sent_entries(1, 100)
    assert peer.flow_paused
    peer.flow_paused = False
    peer.sent_entries(0, 0)
    assert peer.flow_paused
    assert (peer.next_index, peer.inflights.count) == (2, 1)


def test_a_probe_pauses_after_entries_only_and_leaves_next_alone() -> None:
    peer = progress(PROBE, 0, 1)
    peer.sent_entries(0, 0)
    assert not peer.flow_paused
    peer.sent_entries(2, 100)
    assert peer.flow_paused
    assert (peer.next_index, peer.inflights.count) == (1, 0)


def test_an_empty_probe_does_not_resume_a_paused_peer() -> None:
    peer = progress(PROBE, 0, 1)
    peer.flow_paused = True
    peer.sent_entries(0, 0)
    assert peer.flow_paused


def test_an_append_sent_during_a_snapshot_is_a_broken_invariant() -> None:
    with pytest.raises(RaftFailed):
        progress(SNAPSHOT, 0, 1, 5).sent_entries(1, 1)


@pytest.mark.parametrize(
    ("sent", "commit", "can_bump"),
    [(5, 5, False), (5, 4, False), (5, 6, True), (8, 9, True), (9, 12, False)],
)
def test_a_commit_index_is_worth_telling_if_new_and_of_use_to_the_peer(
    sent: int, commit: int, can_bump: bool
) -> None:
    peer = progress(REPLICATE, 7, 10)
    peer.sent_commit = sent
    assert peer.can_bump_commit(commit) is can_bump


def test_the_commit_index_told_falls_with_next() -> None:
    for change in (
        lambda peer: peer.become_probe(),
        lambda peer: peer.maybe_decrease(9, 3),
    ):
        peer = progress(REPLICATE, 3, 10)
        peer.sent_commit = 9
        change(peer)
        assert peer.sent_commit == 3
    peer = progress(PROBE, 3, 10)
    peer.sent_commit = 9
    peer.maybe_decrease(9, 5)
    assert (peer.next_index, peer.sent_commit) == (6, 5)


def test_a_copy_shares_nothing() -> None:
    peer = progress(REPLICATE, 3, 6)
    peer.inflights.add(5, 1)
    twin = peer.copy()
    assert str(twin) == str(peer)
    peer.inflights.add(6, 1)
    peer.maybe_update(6)
    assert str(twin) == "StateReplicate match=3 next=6 inflight=1"
