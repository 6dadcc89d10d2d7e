"""Messages as JSON and back, the way etcd's gateway writes and reads them.

The library of protobuf does most of it; what it is more generous about than etcd is looked at here:
bytes are standard base64 with its padding, and enums are known names.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from metastore.api.calls import ApiError, Method, Status
from metastore.api.protocol.messages import pool

_decoder = json.JSONDecoder()
_WHITE = " \t\r\n"


def to_json(message: Any) -> Any:
    """A value for json.dumps: names as in the .proto files, 64-bit numbers as texts, enums by name,
    nothing that is zero or empty."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, descriptor_pool=pool
    )


def to_message(method: Method, value: Any) -> Any:
    """From a parsed JSON value. Raises ApiError."""
    request = method.request_class()
    if value is None:
        return request
    if not isinstance(value, dict):
        raise _bad(f"json: cannot unmarshal {type(value).__name__} into {method.name}Request")
    try:
        _check_values(request.DESCRIPTOR, value)
        json_format.ParseDict(value, request, ignore_unknown_fields=True, descriptor_pool=pool)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise _bad(str(error)) from None
    return request


def parse(text: str) -> Any:
    """The one JSON value of a request; nothing at all is an empty message. Raises ApiError."""
    if not text.strip(_WHITE):
        return {}
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(str(error)) from None


class JsonStream:
    """Takes a body piece by piece, gives its JSON values."""

    def __init__(self) -> None:
        self._text = ""

    @property
    def size(self) -> int:
        """Characters of what has no end yet."""
        return len(self._text)

    def add(self, text: str) -> Iterator[Any]:
        """The values that are complete now. Raises ApiError for what can be none."""
        self._text = (self._text + text).lstrip(_WHITE)
        while self._text:
            try:
                value, end = _decoder.raw_decode(self._text)
            except RecursionError as error:
                raise _bad(str(error)) from None
            except ValueError as error:
                if not self._text.startswith("{"):
                    raise _bad(str(error)) from None
                return  # its end may be still to come
            self._text = self._text[end:].lstrip(_WHITE)
            yield value

    def finish(self) -> None:
        """The body is at its end. Raises ApiError if a value is not."""
        if self._text:
            raise _bad("unexpected EOF")


def _check_values(descriptor: Any, value: dict[str, Any]) -> None:
    for field in descriptor.fields:
        names = {field.name, field.json_name} & value.keys()
        for found in (value[name] for name in names):
            repeated = found if isinstance(found, list) else [found]
            for one in repeated:
                if field.type == FieldDescriptor.TYPE_BYTES and isinstance(one, str):
                    _check_base64(one)
                elif field.type == FieldDescriptor.TYPE_ENUM and isinstance(one, str):
                    _check_enum(field.enum_type, one)
                elif field.message_type is not None and isinstance(one, dict):
                    _check_values(field.message_type, one)


def _check_enum(enum: Any, name: str) -> None:
    # The library passes over a name that it does not know, as over an unknown field.
    if name not in enum.values_by_name:
        raise _bad(f'unknown value "\\"{name}\\"" for enum {enum.full_name}')


def _check_base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _bad(f"illegal base64 data: {text[:40]!r}") from None


def _bad(sentence: str) -> ApiError:
    return ApiError(Status.INVALID_ARGUMENT, sentence)
