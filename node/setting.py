"""How one setting is declared: see settings.py, which has them all, and settings_gateway.py."""

from collections.abc import Callable
from dataclasses import MISSING, field
from typing import Any


def setting(
    parse: Callable[[object], Any], help: str, wrong: str, default: Any = MISSING, item: str = ""
) -> Any:
    """A field of a dataclass. `wrong`: what a wrong value does; `item`: how one of a list is
    written; its flag may be repeated."""
    metadata = {"parse": parse, "help": help, "wrong": wrong, "item": item}
    return field(default=default, metadata=metadata)
