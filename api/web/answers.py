"""What leaves by HTTP: bodies, statuses, and errors in the shape of etcd's JSON gateway."""

import json
from typing import Any

from aiohttp import web

from metastore.api.calls import ApiError, Status

HTTP_STATUS = {
    Status.OK: 200,
    Status.CANCELLED: 499,
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
_REASONS = {429: "Too Many Requests", 499: "Client Closed Request"}


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def answer(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=json_bytes(value), status=status, content_type="application/json")


def refusal(error: ApiError, *, is_stream: bool = False) -> web.Response:
    """Of a call that has sent nothing yet."""
    body = {"error": error.message, "code": int(error.code), "message": error.message}
    status = HTTP_STATUS[error.code]
    return web.Response(
        body=last_line_of(error) if is_stream else json_bytes(body),
        status=status,
        reason=_REASONS.get(status),
        content_type="application/json",
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
        "http_status": web.Response(status=status, reason=_REASONS.get(status)).reason,
    }
    return json_bytes({"error": inner}) + b"\n"
