"""Passwords as etcd keeps them: bcrypt hashes, made and checked beside the event loop.

A check takes tens of milliseconds by design, so only a few run at once, on threads of their own;
the hash of nobody makes an unknown user cost as much as a wrong password. No password is kept,
logged, or compared in any other way.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

COST = 10  # etcd's
BYTES_USED = 72  # of a password, by bcrypt itself
AT_ONCE_MAX = 2

Result = TypeVar("Result")


class Passwords:
    """For one event loop; `close` lets the threads end."""

    def __init__(self, cost: int = COST) -> None:
        self._cost = cost
        self._threads = ThreadPoolExecutor(AT_ONCE_MAX, "password")
        self._hash_of_nobody = b""

    async def hash(self, password: str) -> bytes:
        return await self._run(lambda: bcrypt.hashpw(_bytes_of(password), self._salt()))

    async def is_right(self, password: str, hashed: bytes) -> bool:
        """`hashed` b"": of a user who is not there, or has no password; False, after the time that
        any other check takes."""
        return await self._run(lambda: self._check(password, hashed))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _salt(self) -> bytes:
        return bcrypt.gensalt(self._cost)

    def _check(self, password: str, hashed: bytes) -> bool:
        if not self._hash_of_nobody:
            self._hash_of_nobody = bcrypt.hashpw(b"", self._salt())
        try:
            is_right = bcrypt.checkpw(_bytes_of(password), hashed or self._hash_of_nobody)
        except ValueError:  # no hash of bcrypt's: a client made it
            return False
        return is_right and bool(hashed)


def _bytes_of(password: str) -> bytes:
    return password.encode()[:BYTES_USED]
