"""What the headers of a call say: who calls, and how long it may take.

etcd's gateway makes metadata of gRPC of them: `Authorization` by its own name, `Grpc-Metadata-X` as
`x`. A client's certificate is not looked at here, as in etcd: its name counts with gRPC only.
"""

from collections.abc import Mapping

from aiohttp import web

from metastore.api.calls import ApiError, Caller, Status
from metastore.api.grpc.callers import HAS_LEADER, TOKEN, TOKEN_OF_HTTP

TIMEOUT = "Grpc-Timeout"
_METADATA = "Grpc-Metadata-"
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_DIGITS_MAX = 8  # gRPC's


def caller_of(request: web.BaseRequest) -> Caller:
    """The plain token, without a word like `Bearer` before it."""
    headers = request.headers
    token = headers.get(_METADATA + TOKEN)
    if token is None:
        token = headers.get(TOKEN_OF_HTTP)
    if token is None:
        token = headers.get(_METADATA + TOKEN_OF_HTTP, "")
    return Caller(
        token=token,
        requires_leader=headers.get(_METADATA + HAS_LEADER) == "true",
        address=request.remote or "",
    )


def timeout_s_of(headers: Mapping[str, str]) -> float | None:
    """None: as long as it takes. Raises ApiError for a header that says no time."""
    text = headers.get(TIMEOUT, "")
    if not text:
        return None
    digits, unit = text[:-1], text[-1]
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX
    if not is_number or unit not in _UNITS_S:
        raise ApiError(Status.INVALID_ARGUMENT, f"invalid grpc-timeout: {text}")
    return int(digits) * _UNITS_S[unit] or None
