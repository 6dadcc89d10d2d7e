"""Passwords as etcd keeps them: bcrypt hashes, made and checked beside the event loop.

A check takes tens of milliseconds by design, so only a few run at once, on threads of their own,
and only so many wait. No password is kept or logged, and an unknown user costs as much as a wrong
password.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from metastore.api.calls import ApiError, Status

COST = 10  # etcd's
# bcrypt looks at so much of a password; etcd passes over the rest, the library refuses it.
BYTES_USED = 72
AT_ONCE_MAX = 2
WAITING_MAX = 256  # about what can be done before those who wait give up
TOO_MANY = "etcdserver: too many requests"

Result = TypeVar("Result")


class Passwords:
    """For one event loop; `close` lets the threads end."""

    def __init__(self, cost: int = COST) -> None:
        self._cost = cost
        self._threads = ThreadPoolExecutor(AT_ONCE_MAX, "password")
        self._under_way = 0
        # As good as any other to be compared with: of no password, but as slow.
        self._hash_of_nobody = b"$2a$%02d$" % cost + b"." * 53

    async def hash(self, password: str) -> bytes:
        """Raises ApiError when too many wait already; so does is_right."""

        def work() -> bytes:
            # 2a: what Go's library writes, so that etcd can read it.
            salt = bcrypt.gensalt(self._cost, prefix=b"2a")
            return bcrypt.hashpw(_bytes_of(password), salt)

        return await self._run(work)

    async def is_right(self, password: str, hashed: bytes) -> bool:
        """`hashed` b"": of a user who is not there, or has no password; False, after the time that
        any other check takes."""

        def work() -> bool:
            try:
                return bcrypt.checkpw(_bytes_of(password), hashed or self._hash_of_nobody)
            except ValueError:  # what is kept is no hash of bcrypt's
                return False

        return await self._run(work) and bool(hashed)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._under_way >= AT_ONCE_MAX + WAITING_MAX:
            raise ApiError(Status.RESOURCE_EXHAUSTED, TOO_MANY)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


def _bytes_of(password: str) -> bytes:
    return password.encode()[:BYTES_USED]
