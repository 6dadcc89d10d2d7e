"""What a test and a scripted node say to each other about watches."""

from typing import Any

from metastore.transport import watch_frames


def watches(node: Any) -> list[watch_frames.Watch]:
    """The WATCH frames that the node got, in order."""
    return [frame for frame in node.watch_frames if isinstance(frame, watch_frames.Watch)]


def put(key: bytes, revision: int, value: bytes = b"v") -> Any:
    """An event: the key is new at the revision."""
    return ((key, value, revision, revision, 1, 0), None)


def tell(node: Any, revision: int, *events: Any, is_fragment: bool = False) -> None:
    """To the watch made last; a sign of progress if there are no events."""
    data = watch_frames.encode_event_list(events) if events else b""
    request_id = watches(node)[-1].request_id
    node.tell(watch_frames.encode_events(request_id, revision, data, is_fragment))
