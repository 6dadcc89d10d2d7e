"""Messages as JSON and back, the way etcd's gateway writes and reads them.

Not with the JSON of the protobuf library: it takes what etcd refuses (base64 without padding,
`1.0`), refuses what etcd takes (both spellings of a name, several of a oneof), and is several times
slower. What may stand where is looked up once for each kind of message.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from metastore.api.web.json_text import Fraction, Malformed

DEPTH_MAX = 100  # of messages within messages, protobuf's own limit

_INTEGER = re.compile(r"[ \t\r\n]*(-?(?:0|[1-9][0-9]*))[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"

_F = FieldDescriptor
_RANGES = {
    _F.TYPE_INT32: ("int32", -(1 << 31), (1 << 31) - 1),
    _F.TYPE_UINT32: ("uint32", 0, (1 << 32) - 1),
    _F.TYPE_INT64: ("int64", -(1 << 63), (1 << 63) - 1),
    _F.TYPE_UINT64: ("uint64", 0, (1 << 64) - 1),
}
_AS_TEXT = (_F.TYPE_INT64, _F.TYPE_UINT64)

Read = Callable[[Any], Any]
Write = Callable[[Any], Any]


class _Input(NamedTuple):
    """A field of a message that comes in."""

    name: str
    other_name: str  # lowerCamelCase; is preferred when both are there, as in etcd
    is_repeated: bool
    read: Read | None  # None: a message


class _Output(NamedTuple):
    name: str
    is_repeated: bool
    write: Write


_inputs: dict[Descriptor, tuple[_Input, ...]] = {}
_outputs: dict[Descriptor, Mapping[int, _Output]] = {}


def to_message(message_class: Any, value: Any) -> Any:
    """From a value of json_text. Raises Malformed."""
    message = message_class()
    _fill(message, value, 0)
    return message


def to_json(message: Any) -> Any:
    """A value for json.dumps: names as in the .proto files, 64-bit numbers as texts, enums by name,
    nothing that is zero or empty."""
    descriptor = message.DESCRIPTOR
    outputs = _outputs.get(descriptor)
    if outputs is None:
        outputs = _outputs[descriptor] = {
            field.number: _output_of(field) for field in descriptor.fields
        }
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        name, is_repeated, write = outputs[field.number]
        found[name] = [write(one) for one in value] if is_repeated else write(value)
    return found


def _fill(message: Any, value: Any, depth: int) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise _mismatch(value, "map[string]json.RawMessage")
    if depth > DEPTH_MAX:
        raise Malformed("proto: messages are nested too deep")
    descriptor = message.DESCRIPTOR
    inputs = _inputs.get(descriptor)
    if inputs is None:
        inputs = _inputs[descriptor] = tuple(map(_input_of, descriptor.fields))
    # In the order of the fields: of a oneof, the last one that is given is what counts.
    for name, other_name, is_repeated, read in inputs:
        found = value.get(other_name if other_name in value else name)
        if found is None:
            continue
        if not is_repeated:
            if read is not None:
                setattr(message, name, read(found))
                continue
            inner = getattr(message, name)
            inner.SetInParent()  # it is there, also when nothing is in it
            _fill(inner, found, depth + 1)
            continue
        if not isinstance(found, list):
            raise _mismatch(found, "[]json.RawMessage")
        repeated = getattr(message, name)
        for one in found:
            if read is None:
                _fill(repeated.add(), one, depth + 1)
            else:
                repeated.append(read(one))


def _input_of(field: FieldDescriptor) -> _Input:
    read: Read | None
    if field.type == _F.TYPE_MESSAGE:
        read = None
    elif field.type == _F.TYPE_ENUM:
        read = _enum_reader(field.enum_type)
    elif field.type in _RANGES:
        read = _integer_reader(*_RANGES[field.type])
    else:
        read = {_F.TYPE_BYTES: _bytes, _F.TYPE_STRING: _string, _F.TYPE_BOOL: _bool}[field.type]
    return _Input(field.name, field.json_name, _is_repeated(field), read)


def _output_of(field: FieldDescriptor) -> _Output:
    write: Write
    if field.type == _F.TYPE_MESSAGE:
        write = to_json
    elif field.type == _F.TYPE_ENUM:
        write = _enum_writer(field.enum_type)
    elif field.type == _F.TYPE_BYTES:
        write = _base64
    else:
        write = str if field.type in _AS_TEXT else _as_it_is
    return _Output(field.name, _is_repeated(field), write)


def _is_repeated(field: FieldDescriptor) -> bool:
    """However old or new the library is, which has changed its words for it."""
    return isinstance(field.default_value, list)


def _enum_reader(enum: Any) -> Read:
    numbers = {name: value.number for name, value in enum.values_by_name.items()}
    read_number = _integer_reader(*_RANGES[_F.TYPE_INT32])

    def read(value: Any) -> Any:
        if type(value) is str:
            if value not in numbers:
                raise Malformed(f'unknown value "\\"{value}\\"" for enum {enum.full_name}')
            return numbers[value]
        return read_number(value)

    return read


def _enum_writer(enum: Any) -> Write:
    names = {number: value.name for number, value in enum.values_by_number.items()}
    return lambda number: names.get(number, number)


def _integer_reader(kind: str, lowest: int, highest: int) -> Read:
    def read(value: Any) -> int:
        if type(value) is str:  # in quotes or not
            matched = _INTEGER.fullmatch(value)
            if matched is None:
                raise Malformed(f"json: cannot unmarshal {value!r} into Go value of type {kind}")
            value = int(matched[1]) if len(value) < 100 else highest + 1
        if type(value) is not int:
            raise _mismatch(value, kind)
        if not lowest <= value <= highest:
            raise Malformed(f"json: cannot unmarshal number {value} into Go value of type {kind}")
        return value

    return read


def _bytes(value: Any) -> bytes:
    if type(value) is str:
        try:
            return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
        except ValueError:  # binascii.Error is one
            raise Malformed("illegal base64 data") from None
    if isinstance(value, list):  # Go's other way to write bytes
        try:
            return bytes(value)
        except (ValueError, TypeError):
            pass
    raise _mismatch(value, "[]uint8")


def _string(value: Any) -> str:
    if type(value) is not str:
        raise _mismatch(value, "string")
    return value if value.isascii() else _SURROGATE.sub(_REPLACEMENT, value)


def _bool(value: Any) -> bool:
    if value is not True and value is not False:
        raise _mismatch(value, "bool")
    return value


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _as_it_is(value: Any) -> Any:
    return value


_KINDS = {bool: "bool", int: "number", str: "string", list: "array", dict: "object"}


def _mismatch(value: Any, wanted: str) -> Malformed:
    kind = f"number {value}" if isinstance(value, Fraction) else _KINDS.get(type(value), "null")
    return Malformed(f"json: cannot unmarshal {kind} into Go value of type {wanted}")
