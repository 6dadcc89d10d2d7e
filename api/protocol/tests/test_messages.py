"""The messages are those of the .proto files, and stand beside a client's own."""

from pathlib import Path

import compile_protocol
from google.protobuf import descriptor_pool

from metastore.api.calls import methods
from metastore.api.protocol import messages


def test_the_descriptor_file_is_what_protoc_makes_of_the_proto_files(tmp_path: Path) -> None:
    made = tmp_path / messages.DESCRIPTORS
    assert compile_protocol.compile_to(made) == 0
    kept = compile_protocol.FOLDER / messages.DESCRIPTORS
    assert made.read_bytes() == kept.read_bytes(), "run python3 scripts/compile_protocol.py"


def test_a_message_comes_back_as_it_was_and_the_numbers_are_those_of_the_wire() -> None:
    request = messages.rpc.RangeRequest(key=b"a", range_end=b"b", limit=3, sort_order=2)
    data = request.SerializeToString()
    assert data == b"\x0a\x01a\x12\x01b\x18\x03\x28\x02"
    assert messages.rpc.RangeRequest.FromString(data) == request
    assert messages.rpc.AlarmType_CORRUPT == 2


def test_nothing_is_claimed_in_the_pool_that_a_client_in_the_same_process_uses() -> None:
    for service in messages.SERVICES:
        assert messages.pool.FindServiceByName(service).methods
    file = messages.pool.FindFileContainingSymbol("etcdserverpb.KV")
    assert descriptor_pool.Default() is not file.pool


def test_every_method_of_a_service_needs_its_function() -> None:
    class Locks:
        async def lock(self) -> None: ...
        async def unlock(self) -> None: ...

    found = list(methods([("v3lockpb.Lock", Locks())]))
    assert [(method.path, method.takes_stream, method.sends_stream) for method in found] == [
        ("/v3lockpb.Lock/Lock", False, False),
        ("/v3lockpb.Lock/Unlock", False, False),
    ]
