"""Passwords: etcd's hashes, made beside the loop, for so many at once."""

import asyncio
import threading
from typing import Any

import bcrypt
import pytest
from access_setup import CHEAP, refused, run

from metastore.api.access import passwords as module
from metastore.api.access.passwords import TOO_MANY, Passwords


def test_long_passwords_count_with_their_first_72_bytes_as_in_etcd() -> None:
    async def scenario() -> None:
        passwords = Passwords(CHEAP)
        hashed = await passwords.hash("x" * 72 + "abc")
        assert await passwords.is_right("x" * 72 + "other", hashed)
        assert not await passwords.is_right("x" * 71, hashed)
        passwords.close()

    run(scenario())


@pytest.mark.parametrize("password", ["", "a\0b", "пароль", "x" * 72])
def test_any_text_is_a_password_and_its_hash_is_of_the_kind_that_etcd_writes(
    password: str,
) -> None:
    async def scenario() -> None:
        passwords = Passwords(CHEAP)
        hashed = await passwords.hash(password)
        assert hashed.startswith(b"$2a$04$")
        assert await passwords.is_right(password, hashed)
        assert not await passwords.is_right(password[:-1] + "?", hashed)
        passwords.close()

    run(scenario())


@pytest.mark.parametrize("kept", [b"no hash of bcrypt's", b"\xff", b"$2a$10$short"])
def test_nothing_fits_what_is_no_hash(kept: bytes) -> None:
    async def scenario() -> None:
        passwords = Passwords(CHEAP)
        assert not await passwords.is_right("x", kept)
        passwords.close()

    run(scenario())


def test_for_nobody_the_same_is_done_and_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, str]] = []
    check = bcrypt.checkpw

    def watched(password: bytes, hashed: bytes) -> bool:
        seen.append((hashed[:7], threading.current_thread().name.split("_")[0]))
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", watched)

    async def scenario() -> None:
        passwords = Passwords(CHEAP)
        hashed = await passwords.hash("right")
        assert not await passwords.is_right("wrong", hashed)
        assert not await passwords.is_right("", b"")
        passwords.close()

    run(scenario())
    assert seen == [(b"$2a$04$", "password")] * 2


def test_nobody_is_let_in_whatever_the_comparison_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: True)

    async def scenario() -> None:
        passwords = Passwords(CHEAP)
        assert not await passwords.is_right("x", b"")
        passwords.close()

    run(scenario())


def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    gate = threading.Event()

    def slow(*_: Any) -> bool:
        gate.wait()
        return True

    monkeypatch.setattr(bcrypt, "checkpw", slow)

    async def scenario() -> None:
        passwords = Passwords(CHEAP)
        room = module.AT_ONCE_MAX + 3
        waiting = [asyncio.ensure_future(passwords.is_right("x", b"h")) for _ in range(room)]
        await asyncio.sleep(0)
        assert await refused(passwords.is_right("x", b"h")) == (8, TOO_MANY)
        gate.set()
        assert await asyncio.gather(*waiting) == [True] * room
        assert await passwords.is_right("x", b"h")
        passwords.close()

    run(scenario())
