"""etcd's side of the measurement: h2load with a gRPC message written by hand."""

import base64
import http.client
import json
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

from benchmark import load

VALUE = load.VALUE
KEY = load.key_of(0)


def _field(number: int, data: bytes) -> bytes:
    """One length-delimited protobuf field; lengths here stay below 2^14."""
    length = (
        bytes((len(data),)) if len(data) < 128 else bytes((len(data) & 127 | 128, len(data) >> 7))
    )
    return bytes((number << 3 | 2,)) + length + data


def message(kind: str) -> bytes:
    """A gRPC frame: flag, length, the request (Put: key 1, value 2; Range: key 1, range_end 2,
    limit 3; Txn: success 2, in it request_put 2)."""
    if kind == "put":
        body = _field(1, KEY) + _field(2, VALUE)
    elif kind == "get":
        body = _field(1, KEY)
    elif kind == "range":
        body = _field(1, KEY) + _field(2, b"bench/l") + b"\x18\xe8\x07"
    else:
        puts = (_field(1, load.key_of(n)) + _field(2, VALUE) for n in range(load.BATCH))
        body = b"".join(_field(2, _field(2, put)) for put in puts)
    return b"\0" + len(body).to_bytes(4, "big") + body


METHODS = {"put": "Put", "batch": "Txn", "get": "Range", "range": "Range"}


def run(endpoint: str, kind: str, clients: int, in_flight: int, seconds: float) -> float:
    """Operations per second of `clients` connections with `in_flight` streams each."""
    method = METHODS[kind]
    with tempfile.NamedTemporaryFile() as file:
        file.write(message(kind))
        file.flush()
        command = ["h2load", "-c", str(clients), "-m", str(in_flight), "-t", "1", "-d", file.name]
        command += ["-D", str(max(1, round(seconds))), "-H", "content-type: application/grpc"]
        command += ["-H", "te: trailers", f"{endpoint}/etcdserverpb.KV/{method}"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", output)
    failed = re.search(r"(\d+) failed, (\d+) errored", output)
    if found is None or failed is None or failed.groups() != ("0", "0"):
        raise RuntimeError(f"h2load gave no clean result:\n{output}")
    return float(found.group(1))


def fill(endpoint: str, count: int, key: Callable[[int], bytes]) -> None:
    """Writes `count` keys in order, in transactions of load.BATCH puts."""
    address = endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=30)
    value = base64.b64encode(VALUE).decode()
    for start in range(0, count, load.BATCH):
        puts = [
            {"request_put": {"key": base64.b64encode(key(n)).decode(), "value": value}}
            for n in range(start, min(count, start + load.BATCH))
        ]
        connection.request("POST", "/v3/kv/txn", json.dumps({"success": puts}))
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"etcd refused: {answer.read()!r}")
        answer.read()
    connection.close()


def read(endpoint: str) -> None:
    """One linearizable read of one key."""
    key = base64.b64encode(KEY).decode()
    data = json.dumps({"key": key}).encode()
    request = urllib.request.Request(f"{endpoint}/v3/kv/range", data=data)
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()


def wait_for_etcd_leader(endpoints: Sequence[str], timeout_s: float) -> str:
    """The leader's client endpoint, once every member names the same one."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            answers = [_status(endpoint) for endpoint in endpoints]
        except (urllib.error.URLError, OSError, KeyError):
            time.sleep(0.2)
            continue
        for endpoint, answer in zip(endpoints, answers, strict=True):
            if answer["header"]["member_id"] == answer.get("leader"):
                return endpoint
        time.sleep(0.2)
    raise RuntimeError("etcd found no leader in time")


def _status(endpoint: str) -> dict[str, dict[str, str]]:
    request = urllib.request.Request(f"{endpoint}/v3/maintenance/status", data=b"{}")
    with urllib.request.urlopen(request, timeout=2) as response:
        answer: dict[str, dict[str, str]] = json.load(response)
    return answer
