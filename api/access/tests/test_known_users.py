"""Questions about users: shared by who comes in time, and never answered by what is older."""

import asyncio
from typing import Any

import pytest
from access_setup import FakeCluster, run

from metastore.api.access import known_users
from metastore.api.access.known_users import KnownUsers


async def turns() -> None:
    """Until whatever can go on has."""
    for _ in range(10):
        await asyncio.sleep(0)


def known_of(cluster: FakeCluster) -> KnownUsers:
    link: Any = cluster
    return KnownUsers(link)


def test_who_asks_while_a_question_is_under_way_shares_the_next_one() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        cluster.gate = asyncio.Event()
        known = known_of(cluster)
        first = asyncio.ensure_future(known.ask("ann"))
        await turns()
        cluster.revision = 6  # too late for the first question
        others = [asyncio.ensure_future(known.ask("ann")) for _ in range(50)]
        await turns()
        assert cluster.questions == ["ann"]
        cluster.gate.set()
        assert (await first).state.auth_revision == 5
        assert {(await other).state.auth_revision for other in others} == {6}
        assert cluster.questions == ["ann", "ann"]
        assert not known._under_way
        assert not known._waiting

    run(scenario())


def test_the_answer_to_an_older_question_that_comes_later_is_not_remembered() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        cluster.users["ann"] = (b"hash", 4)
        known = known_of(cluster)
        gate = cluster.gate = asyncio.Event()
        older = asyncio.ensure_future(known.ask("ann"))
        await turns()
        cluster.gate, cluster.revision = None, 6
        await known.ask("ben")
        gate.set()
        assert (await older).state.auth_revision == 5
        assert known.state is not None
        assert known.state.auth_revision == 6
        assert known.find("ann") is None

    run(scenario())


def test_a_question_that_fails_is_asked_again() -> None:
    async def scenario() -> None:
        cluster = FakeCluster()
        known = known_of(cluster)
        del cluster.users
        with pytest.raises(AttributeError):
            await known.ask("ann")
        cluster.users = {"ann": (b"hash", 4)}
        assert (await known.ask("ann")).password_revision == 4

    run(scenario())


def test_users_are_remembered_as_of_one_state_and_only_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_users, "USERS_MAX", 3)

    async def scenario() -> None:
        cluster = FakeCluster()
        known = known_of(cluster)
        for number in range(9):
            cluster.users[f"u{number}"] = (b"hash", 4)
            await known.ask(f"u{number}")
            await known.ask(f"nobody {number}")
        assert len(known) == 3
        cluster.revision += 1
        await known.ask()
        assert len(known) == 0

    run(scenario())
