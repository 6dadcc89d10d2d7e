"""The scripts' own virtual environment: makes .venv when it is missing or stale, and goes on
inside.

Every script that needs the project's packages calls `enter()` before it imports one of them. Only
the standard library may be imported here, and only Python 3.11 with venv may be expected of the
machine. METASTORE_PYTHON names another interpreter (with the project importable) and skips all of
this.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - before any syntax or module that an older one lacks
    raise SystemExit(
        f"metastore needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}"
    )

import fcntl
import hashlib
import json
import os
import subprocess
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PACKAGE_FOLDERS = ("api", "client", "engines", "node", "transport")
OVERRIDE = "METASTORE_PYTHON"
_ENTERED = "METASTORE_PYTHON_ENTERED"  # set for the process that METASTORE_PYTHON led to
_PIP_LINES_SHOWN = 15


class PreparationFailed(Exception):
    """The environment could not be made; the text says why and what to do."""


def enter(extras: Sequence[str] = ()) -> None:
    """Returns only inside an interpreter that can import `metastore` with these extras; replaces
    the running process by that interpreter when it is another one. Ends the process with a message
    and exit code 1 when the environment cannot be made."""
    try:
        python = _chosen_interpreter(extras)
    except PreparationFailed as failure:
        raise SystemExit(f"error: {failure}") from None
    if python is not None:
        sys.stdout.flush()
        # Executable scripts without .py still arrive here as "python SCRIPT": orig_argv has both.
        os.execv(python, [str(python), *sys.orig_argv[1:]])


def _chosen_interpreter(extras: Sequence[str]) -> Path | None:
    """The interpreter to go on in, None when it is the running one."""
    override = os.environ.get(OVERRIDE)
    if override:
        if os.environ.get(_ENTERED) == override:
            return None
        if not os.access(override, os.X_OK):
            raise PreparationFailed(f"{OVERRIDE}={override} is no executable; unset or correct it")
        os.environ[_ENTERED] = override
        return Path(override)
    prepare(extras)
    return None if Path(sys.prefix).resolve() == VENV.resolve() else VENV / "bin" / "python"


def prepare(extras: Sequence[str]) -> None:
    """Makes .venv, or brings it up to date; does nothing (one file read) when it is current."""
    if _is_current(extras):
        return
    with _locked():
        if _is_current(extras):  # another process made it while we waited
            return
        stamp = _read_stamp()
        fresh = stamp.get("base") != _base()
        wanted = sorted(set(extras) | set(() if fresh else stamp.get("extras", ())))
        changed = fresh or stamp.get("pyproject") != _pyproject() or wanted != stamp["extras"]
        started = time.monotonic()
        _say(f"Preparing .venv ({'installs the packages' if changed else 'new files'}) ... ")
        try:
            _stamp_path().unlink(missing_ok=True)
            if fresh:
                _create()
            _install(wanted, changed)
            _write_stamp(wanted)
        except PreparationFailed:
            _say("failed\n")
            raise
        _say(f"done in {time.monotonic() - started:.0f} s\n")


def _create() -> None:
    _run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        "the virtual environment could not be made",
        "Python needs its venv module (on Debian and Ubuntu: apt install python3-venv)",
    )


def _install(extras: Sequence[str], changed: bool) -> None:
    """`changed` False: only the list of files changed, so no dependency is looked at (works
    offline)."""
    pip = [
        str(VENV / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
    ]
    advice = "check the network or the package index that pip is configured for, and run this again"
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    if changed:
        _run([*pip, *requires], "pip could not install the build tools", advice)
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    # Strict: exactly the packaged files are importable, as in a wheel; a new file needs this again.
    strict = ["--no-build-isolation", "--config-settings", "editable_mode=strict", "-e", target]
    _run([*pip, *([] if changed else ["--no-deps"]), *strict], "pip could not install", advice)


def _run(command: Sequence[str], what: str, advice: str) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        tail = "\n".join("  " + line for line in done.stdout.splitlines()[-_PIP_LINES_SHOWN:])
        raise PreparationFailed(f"{what}:\n{tail}\n{advice}")


def _is_current(extras: Sequence[str]) -> bool:
    stamp = _read_stamp()
    return (
        stamp.get("base") == _base()
        and stamp.get("pyproject") == _pyproject()
        and stamp.get("files") == _files()
        and set(extras) <= set(stamp.get("extras", ()))
    )


def _base() -> str:
    """A checkout that moved, or another Python, needs a new environment."""
    return f"{ROOT} {sys.version_info.major}.{sys.version_info.minor}"


def _pyproject() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def _files() -> str:
    names = sorted(
        str(path.relative_to(ROOT))
        for folder in PACKAGE_FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".typed", ".html") and "tests" not in path.parts
    )
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _stamp_path() -> Path:
    return VENV / "metastore-stamp.json"


def _read_stamp() -> dict[str, Any]:
    try:
        stamp = json.loads(_stamp_path().read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(extras: Sequence[str]) -> None:
    stamp = {
        "base": _base(),
        "pyproject": _pyproject(),
        "files": _files(),
        "extras": list(extras),
    }
    aside = _stamp_path().with_suffix(".new")
    aside.write_text(json.dumps(stamp))
    aside.rename(_stamp_path())


@contextmanager
def _locked() -> Iterator[None]:
    """One preparation at a time; the lock is beside .venv's contents, which --clear removes."""
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / ".environment-lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
