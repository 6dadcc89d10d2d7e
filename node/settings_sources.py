"""Where settings come from: a TOML file, then METASTORE_* variables, then flags; later ones win.

After settings.py and settings_checks.py. Knows no setting by name: flags, help, variables and the
page docs/guide/settings.md are generated from the schema.
"""

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, get_args

from metastore.node.settings import Settings, SettingsInvalid, schema
from metastore.node.settings_checks import Origins, complete

PREFIX = "METASTORE_"
CONFIG_VARIABLE = PREFIX + "CONFIG"
# Variables of the client and its commands, which share the prefix and may be set in the same shell.
_WORDS = ("CLIENT_", "GATEWAY_", "ENDPOINTS", "TIMEOUT", "PYTHON", "CRASH_")
_NOT_OURS = tuple(PREFIX + word for word in _WORDS)

FILE_TYPES = {"int": "number", "str": "text", "bool": "true/false", "Path": "path"}


def load(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The checked settings. Raises SettingsInvalid; SystemExit(0) after `--help`."""
    flags = vars(parser().parse_args(list(argv)))
    config = flags.pop("config", None) or environment.get(CONFIG_VARIABLE)
    values: dict[str, Any] = {}
    origins: Origins = {}
    sources = [(f"file {config}", _read_file(Path(config)))] if config else []
    sources += [("environment", _read_environment(environment)), ("flag", flags)]
    for source, found in sources:
        for key, raw in found.items():
            values[key] = _parse(source, key, raw)
            origins[key] = source
    for entry in schema():
        if entry.default is MISSING and entry.name not in values:
            raise SettingsInvalid("settings", entry.name, None, f"a value ({_help(entry)})")
    return complete(Settings(**values), origins)


def parser() -> argparse.ArgumentParser:
    made = _Parser(
        prog="python -m metastore.node",
        description="Runs one node. Each setting may stand in the file, in the environment as "
        f"{PREFIX}NAME, or as a flag; flags win over the environment, which wins over the file.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    made.add_argument("--config", metavar="FILE", help=f"TOML file ({CONFIG_VARIABLE}).")
    for entry in schema():
        names = [_flag_name(entry)]
        options: dict[str, Any] = {"dest": entry.name, "help": _help(entry).replace("%", "%%")}
        if entry.metadata["item"]:
            options |= {"action": "append", "metavar": entry.metadata["item"]}
        elif _type_name(entry) == "bool":
            options |= {"nargs": "?", "const": True, "metavar": "true|false"}
        else:
            options |= {"metavar": _type_name(entry).upper()}
        made.add_argument(*names, **options)
    return made


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsInvalid("flag", "command line", message, "flags as --help lists them")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsInvalid(
            "settings", "config", str(path), f"a readable file ({reason})"
        ) from None
    except (ValueError, RecursionError) as error:  # also what nests or counts too far
        raise SettingsInvalid("settings", "config", str(path), f"valid TOML ({error})") from None


def _read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    names = (name for name in environment if name.startswith(PREFIX))
    ours = (n for n in names if n != CONFIG_VARIABLE and not n.startswith(_NOT_OURS))
    return {name.removeprefix(PREFIX).lower(): environment[name] for name in ours}


def _parse(source: str, key: str, raw: object) -> Any:
    entry = next((entry for entry in schema() if entry.name == key), None)
    if entry is None:
        known = ", ".join(entry.name for entry in schema())
        raise SettingsInvalid(source, key, raw, f"one of the known settings: {known}")
    try:
        return entry.metadata["parse"](raw)
    except ValueError as error:
        raise SettingsInvalid(source, key, raw, str(error)) from None


def _flag_name(entry: Field[Any]) -> str:
    return "--member" if entry.name == "members" else "--" + entry.name.replace("_", "-")


def _type_name(entry: Field[Any]) -> str:
    if isinstance(entry.type, UnionType):  # something or nothing
        return str(get_args(entry.type)[0].__name__)
    return entry.type if isinstance(entry.type, str) else entry.type.__name__


def _default_text(entry: Field[Any]) -> str:
    if entry.default is MISSING:
        return "required"
    if entry.name == "cluster_id":
        return "metastore"
    if isinstance(entry.default, bool):
        return str(entry.default).lower()
    return str(entry.default) if entry.default not in ("", (), None) else "empty"


def _help(entry: Field[Any]) -> str:
    text = entry.metadata["help"].replace("`", "")
    return f"{text} [{_default_text(entry)}]"


def settings_page() -> str:
    """docs/guide/settings.md; a test holds the committed page equal to this."""
    lines = [
        "# Settings of a node",
        "",
        "Generated from the schema in `node/settings.py`: "
        "`python -m metastore.node.settings_sources > docs/guide/settings.md`.",
        "",
        "A setting may stand in the TOML file (`--config FILE`), in the environment as "
        f"`{PREFIX}NAME`, or as a flag. Flags win over the environment, the environment over the "
        "file. An unknown name or an unusable value stops the start (exit code 2) and says which "
        "source, key and value, and what is expected.",
    ]
    for entry in schema():
        kind = "list" if entry.metadata["item"] else FILE_TYPES[_type_name(entry)]
        if entry.name == "cluster_id":
            kind = "text or number"
        lines += [
            "",
            f"## `{entry.name}`",
            "",
            f"{entry.metadata['help']}",
            "",
            f"* Type: {kind}; default: {_default_text(entry)}",
            f"* Flag `{_flag_name(entry)}`, variable `{PREFIX}{entry.name.upper()}`",
            f"* When mis-set: {entry.metadata['wrong']}",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(settings_page())
