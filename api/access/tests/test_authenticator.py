"""Who a caller is: tokens that live, end, and are taken away; what is remembered is never trusted
alone."""

import asyncio

import pytest
from access_setup import SECRET, Setup, refused, run

from metastore.api.access import authenticator
from metastore.api.access.authenticator import AUTH_FAILED, INVALID_TOKEN, NO_PASSWORD
from metastore.api.access.tokens import Claims, Grounds, SimpleTokens
from metastore.api.calls import Caller
from metastore.api.link import Identity
from metastore.transport.auth_ops import AUTH_NOT_ENABLED


def test_a_token_is_its_user_and_a_wrong_password_is_told_from_nothing() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        assert await setup.identity(token) == Identity("ann", 6)
        for name, password in (("ann", "wrong"), ("nobody", "right"), ("ann", "")):
            answer = await refused(setup.authenticator.log_in(name, password))
            assert answer == (3, AUTH_FAILED)

    run(scenario())


def test_a_user_without_a_password_cannot_log_in() -> None:
    async def scenario() -> None:
        setup = Setup()
        setup.cluster.users["ann"] = (b"", 6)
        for password in ("", "right"):
            answer = await refused(setup.authenticator.log_in("ann", password))
            assert answer == (2, NO_PASSWORD)

    run(scenario())


def test_while_auth_is_off_nobody_is_asked_and_no_token_is_valid() -> None:
    async def scenario() -> None:
        setup = Setup()
        setup.cluster.is_enabled = False
        assert await setup.identity() == Identity("", 5)
        asked = len(setup.cluster.questions)
        for _ in range(3):
            assert await setup.identity(certificate="ann") == Identity("ann", 5)
        assert len(setup.cluster.questions) == asked
        assert await refused(setup.authenticator.log_in("ann", "x")) == (9, AUTH_NOT_ENABLED)
        assert await refused(setup.identity("some token")) == (16, INVALID_TOKEN)

    run(scenario())


def test_a_certificate_is_a_user_unless_a_token_says_another() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        assert await setup.identity(certificate="ben") == Identity("ben", 6)
        assert await setup.identity(token, "ben") == Identity("ann", 6)

    run(scenario())


def test_a_token_lives_five_minutes_after_its_last_use() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        other = setup.another()
        for _ in range(3):
            setup.now_s += 299
            assert (await setup.identity(token)).user == "ann"
        # A gateway that has not seen it in use goes by when it was issued.
        assert await refused(other.identity_of(Caller(token))) == (16, INVALID_TOKEN)
        setup.now_s += 301
        assert await refused(setup.identity(token)) == (16, INVALID_TOKEN)

    run(scenario())


def test_another_gateway_takes_the_token_without_having_heard_of_it() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        assert await setup.another().identity_of(Caller(token)) == Identity("ann", 6)

    run(scenario())


@pytest.mark.parametrize("how", ["a new password", "deleted", "made anew"])
def test_a_user_that_changes_loses_its_tokens_as_soon_as_that_is_known(how: str) -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        await setup.add_user("ben", "right")
        token = await setup.log_in("ann", "right")
        others = await setup.log_in("ben", "right")
        await setup.identity(token)
        if how == "deleted":
            setup.cluster.revision += 1
            del setup.cluster.users["ann"]
        else:
            await setup.add_user("ann", "right")
        await setup.authenticator.refresh()  # what link.ask does: the auth revision is over
        assert await refused(setup.identity(token)) == (16, INVALID_TOKEN)
        assert (await setup.identity(others)).user == "ben"

    run(scenario())


@pytest.mark.parametrize("how", ["shorter", "longer", "not ASCII", "other letters"])
def test_a_token_that_was_changed_is_none(how: str) -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        changed = {"shorter": token[:-1], "longer": "A" + token, "not ASCII": "é"}
        spoiled = changed.get(how, token.swapcase())
        assert await refused(setup.identity(spoiled)) == (16, INVALID_TOKEN)

    run(scenario())


def test_a_token_of_another_cluster_is_none() -> None:
    token = SimpleTokens().issue(Grounds("ann", 6, 6, b"another secret"), 1000.0)
    assert SimpleTokens().read_or_none(token, SECRET) is None


def test_enabling_is_noticed_by_who_comes_with_a_token() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = (await setup.another().log_in("ann", "right")).token
        setup.cluster.is_enabled = False
        await setup.identity()  # remembers that it is off
        setup.cluster.is_enabled = True  # which makes no new auth revision
        assert (await setup.identity(token)).user == "ann"

    run(scenario())


def test_callers_who_come_together_are_one_question() -> None:
    async def scenario() -> None:
        setup = Setup()
        await asyncio.gather(*(setup.identity() for _ in range(50)))
        assert setup.cluster.questions == [""]

    run(scenario())


def test_a_caller_that_leaves_does_not_take_the_answer_of_the_others_along() -> None:
    async def scenario() -> None:
        setup = Setup()
        first = asyncio.ensure_future(setup.identity())
        second = asyncio.ensure_future(setup.identity())
        await asyncio.sleep(0)
        first.cancel()
        assert await second == Identity("", 5)

    run(scenario())


def test_a_token_for_a_new_password_is_taken_by_who_remembers_the_old_one() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        await setup.identity(await setup.log_in("ann", "right"))
        await setup.add_user("ann", "new")
        token = (await setup.another().log_in("ann", "new")).token
        assert (await setup.identity(token)).user == "ann"

    run(scenario())


def test_a_token_is_one_text_only() -> None:
    token = SimpleTokens().issue(Grounds("ann", 6, 6, SECRET), 1000.0)
    assert SimpleTokens().read_or_none(token, SECRET) is not None
    assert SimpleTokens().read_or_none(f"{token[:9]}\n{token[9:]}", SECRET) is None


def test_tokens_end_when_auth_is_switched_off_and_on_again() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        assert (await setup.identity(token)).user == "ann"
        setup.cluster.secret = b"another secret"
        setup.cluster.revision += 1
        await setup.authenticator.refresh()
        assert await refused(setup.identity(token)) == (16, INVALID_TOKEN)

    run(scenario())


def test_a_token_in_use_asks_nobody() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        asked = len(setup.cluster.questions)
        for _ in range(5):
            await setup.identity(token)
        assert len(setup.cluster.questions) == asked

    run(scenario())


def test_only_so_many_tokens_are_remembered_and_the_others_still_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authenticator, "TOKENS_MAX", 3)

    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        tokens = [await setup.log_in("ann", "right") for _ in range(6)]
        for token in tokens + tokens:
            assert (await setup.identity(token)).user == "ann"
        assert len(setup.authenticator._bearers) == 3

    run(scenario())


def test_the_tokens_that_were_not_used_for_longest_are_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authenticator, "TOKENS_MAX", 2)

    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        first, second, third = [await setup.log_in("ann", "right") for _ in range(3)]
        setup.now_s += 299
        for token in (first, second, first, third):
            await setup.identity(token)
        setup.now_s += 299
        # Of the forgotten one only is known when it was issued.
        assert (await setup.identity(first)).user == "ann"
        assert await refused(setup.identity(second)) == (16, INVALID_TOKEN)

    run(scenario())


def test_while_auth_is_off_no_simple_token_is_valid_whatever_it_was_signed_with() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        setup.cluster.is_enabled = False
        await setup.authenticator.refresh()
        assert await refused(setup.identity(token)) == (16, INVALID_TOKEN)

    run(scenario())


def test_what_was_refused_takes_no_room() -> None:
    async def scenario() -> None:
        setup = Setup()
        await setup.add_user("ann", "right")
        token = await setup.log_in("ann", "right")
        await setup.identity(token)
        await setup.add_user("ann", "new")
        await setup.authenticator.refresh()
        assert await refused(setup.identity(token)) == (16, INVALID_TOKEN)
        assert len(setup.authenticator._bearers) == 0

    run(scenario())


@pytest.mark.parametrize(
    ("is_exact", "valid_for"), [(True, [6]), (False, [1, 2, 3, 4, 5, 6])], ids=["simple", "jwt"]
)
def test_a_token_is_of_its_password_and_never_of_a_user_who_is_not_there(
    is_exact: bool, valid_for: list[int]
) -> None:
    claims = Claims("ann", 6, is_exact, 0.0)
    assert [revision for revision in range(9) if claims.is_of(revision)] == valid_for


def test_a_simple_token_that_is_too_long_is_not_read() -> None:
    for length, is_read in ((4000, True), (8000, False)):
        token = SimpleTokens().issue(Grounds("n" * length, 6, 6, SECRET), 1000.0)
        assert (SimpleTokens().read_or_none(token, SECRET) is not None) == is_read
