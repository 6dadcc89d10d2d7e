"""A link for the tests of the services: the real state machine behind it, in the same process.

Answers larger than `answer_keys_max` keys are refused as the client library refuses them. What was
asked is kept.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.failures import AnswerTooLarge
from metastore.api.protocol.messages import rpc
from metastore.engines.contract import LogRecord
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.state import State
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Op, Operation

CLUSTER_ID, NODE_ID, TERM = 77, 3, 5
CALLER = Caller()
PLAY_S = 20.0  # more than any of it takes


class EngineLink:
    """As NodeLink, as far as the services of keys and leases use it."""

    def __init__(self) -> None:
        self.state = State(MemoryRecords())
        self.asked: list[tuple[Caller | None, Operation, ReadLevel]] = []
        self.requests_count = 0
        self.answer_keys_max = 1 << 30
        self.before_ask: list[Any] = []  # each is called before one of the next questions
        self.failure: Exception | None = None  # of everything asked from now on
        self.together_gate: asyncio.Event | None = None  # requests of several wait for it
        self._index = 0

    async def ask(
        self, caller: Caller, operation: Operation, *, level: ReadLevel = ReadLevel.LINEARIZABLE
    ) -> Sequence[Any]:
        if self.before_ask:
            self.before_ask.pop(0)()
        if self.failure is not None:
            raise self.failure
        self.asked.append((caller, operation, level))
        (result,) = self.apply(operation)
        if result[0]:
            raise ApiError(Status(result[0]), result[1])
        is_range = operation[0] in (Op.RANGE, Op.FILTERED_RANGE)
        if is_range and len(result[2]) > self.answer_keys_max:
            raise AnswerTooLarge("too many bytes for one")
        return result

    async def ask_together(self, operations: Sequence[Operation]) -> Sequence[Any]:
        self.requests_count += 1
        if self.together_gate is not None:
            await self.together_gate.wait()
        if self.failure is not None:
            raise self.failure
        self.asked += [(None, operation, ReadLevel.LINEARIZABLE) for operation in operations]
        return self.apply(*operations)

    def apply(self, *operations: Operation) -> Sequence[Any]:
        """As one request, at once."""
        self._index += 1
        data = schema.encode_batch([schema.encode_request(operations)])
        (reply,) = self.state.apply(LogRecord(TERM, self._index, 0, data))
        return schema.decode_results(reply)

    def fill_header(self, header: Any, revision: int) -> None:
        header.cluster_id, header.member_id, header.raft_term = CLUSTER_ID, NODE_ID, TERM
        header.revision = revision


def play(service: Any, body: Callable[[EngineLink, Any], Coroutine[Any, Any, Any]]) -> Any:
    """The body with a link and a service (of this class) of its own."""

    async def main() -> Any:
        link = EngineLink()
        async with asyncio.timeout(PLAY_S):
            return await body(link, service(link))

    return asyncio.run(main())


def header(revision: int) -> Any:
    return rpc.ResponseHeader(
        cluster_id=CLUSTER_ID, member_id=NODE_ID, raft_term=TERM, revision=revision
    )


def fill(link: EngineLink, count: int) -> None:
    """k000, k001 …, each with a value that sorts the other way round."""
    for number in range(count):
        link.apply(schema.put(b"k%03d" % number, b"v%03d" % (count - number)))
