"""What leaves by HTTP: bodies, statuses, and errors in the shapes of etcd's JSON gateway."""

import json
from http import HTTPStatus
from typing import Any

from aiohttp import web

from metastore.api.calls import ApiError, Status

JSON = "application/json"
NOT_FOUND = "404 page not found"
NOT_FOUND_OF_CALLS = "Not Found"  # below the prefix of the calls etcd says it so
WRONG_METHOD = "Method Not Allowed"

# Of all answers. Pages of any origin may use the API, which is etcd's default; a token they have
# to bring themselves.
HEADERS = {
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "accept, content-type, authorization",
    "Server": "metastore",
}
HTTP_STATUS = {
    Status.OK: 200,
    Status.CANCELLED: 408,
    Status.UNKNOWN: 500,
    Status.INVALID_ARGUMENT: 400,
    Status.DEADLINE_EXCEEDED: 504,
    Status.NOT_FOUND: 404,
    Status.ALREADY_EXISTS: 409,
    Status.PERMISSION_DENIED: 403,
    Status.RESOURCE_EXHAUSTED: 429,
    Status.FAILED_PRECONDITION: 400,
    Status.ABORTED: 409,
    Status.OUT_OF_RANGE: 400,
    Status.UNIMPLEMENTED: 501,
    Status.INTERNAL: 500,
    Status.UNAVAILABLE: 503,
    Status.DATA_LOSS: 500,
    Status.UNAUTHENTICATED: 401,
}


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def answer(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=json_bytes(value), status=status, headers=HEADERS, content_type=JSON)


def plain(text: str, status: int = 200, allow: str = "") -> web.Response:
    """For people and probes, as Go's `http.Error` does it. `allow`: the method that is allowed."""
    headers = {**HEADERS, "X-Content-Type-Options": "nosniff"}
    if allow:
        headers["Allow"] = allow
    return web.Response(text=text, status=status, headers=headers, content_type="text/plain")


def refusal(error: ApiError) -> web.Response:
    """Of a call with one answer, or of a request that is none."""
    body = {"error": error.message, "code": int(error.code), "message": error.message}
    return answer(body, HTTP_STATUS[error.code])


def refusal_of_stream(error: ApiError) -> web.Response:
    """Of a stream that has sent nothing yet."""
    return web.Response(
        body=last_line_of(error),
        status=HTTP_STATUS[error.code],
        headers=HEADERS,
        content_type=JSON,
    )


def line_of(value: Any) -> bytes:
    """One message of a stream."""
    return json_bytes({"result": value}) + b"\n"


def last_line_of(error: ApiError) -> bytes:
    """The end of a stream that has begun."""
    status = HTTP_STATUS[error.code]
    inner = {
        "grpc_code": int(error.code),
        "http_code": status,
        "message": error.message,
        "http_status": HTTPStatus(status).phrase,
    }
    return json_bytes({"error": inner}) + b"\n"
