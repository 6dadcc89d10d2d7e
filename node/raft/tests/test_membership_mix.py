"""Changes of members under partition, kill and pause together (scenario E6), by seed."""

import pytest
from member_checks import LOST, Broken
from member_server import MemberServer
from membership_mix import Mix
from sabotaged_members import Hasty, Unsynced
from seeds import TIMEOUT_SECONDS, run_seeds

pytestmark = pytest.mark.timeout(TIMEOUT_SECONDS)

SEEDS = 60
TELLING_SEED = 123


def test_changes_among_cuts_kills_and_pauses_lose_nothing_and_elect_one_leader_a_term() -> None:
    counts = []

    def run(seed: int) -> None:
        mix = Mix(seed)
        mix.run()
        # What all of it rests on: two changes never stand uncommitted in one log.
        assert mix.network.checks.changes_of_one_log_max <= 1
        counts.append(len(mix.acknowledged))

    run_seeds(SEEDS, run, "lose_nothing_and_elect", __file__)
    assert sum(counts) > 5 * len(counts)  # else this shows nothing


@pytest.mark.parametrize(
    ("server", "harm"),
    [(Unsynced, rf"{LOST}|the term of node \d went back"), (Hasty, "another had")],
)
def test_twin_a_sabotaged_member_is_found_within_a_few_seeds(
    server: type[MemberServer], harm: str
) -> None:
    def run_all() -> None:
        for seed in range(20):
            Mix(seed, server=server).run()

    with pytest.raises(Broken, match=harm):
        run_all()


def test_twin_a_commit_index_that_is_not_written_elects_by_a_configuration_of_the_past() -> None:
    # Found by chance, in the node itself; test_single_changes.py has it step by step.
    with pytest.raises(Broken, match="without committed entry"):
        Mix(TELLING_SEED, forgets_commit_index=True).run()
