"""The rules of the tree that a program can check; scripts/tests/test_tidy.py runs them.

As a command it prints every broken rule and leaves with 1; it prints nothing if there is none. Each
rule takes one Source (or the whole tree) and yields sentences, so that a test can also run it
on a bad sample. A rule that is worth an exception has it in EXCEPTIONS, with the reason.
"""

import ast
import io
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ("api", "client", "engines", "node", "transport")
FOLDERS = (*LIBRARY, "integration", "scripts")
COMMANDS = ("scripts/bench", "scripts/check", "scripts/fix", "scripts/fuzz")  # Python without .py

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 40
LINE_COLUMNS_MAX = 100

# (file, rule): why it is right there
EXCEPTIONS: dict[tuple[str, str], str] = {}
# Library modules that no other one imports: why they are there
STANDING_ALONE = {
    "node/raft/invariants.py": "tests and the simulator check the whole state after every step",
    "transport/contract.py": "what peers.py and memory.py have in common, for who writes a third",
    "transport/memory.py": "the network of tests, with the same contract as the real one",
}

RAFT_MAY_IMPORT = {
    *("abc", "bisect", "collections", "collections.abc", "copy", "dataclasses", "enum"),
    "functools",
    *("itertools", "operator", "random", "types", "typing"),
}
# Per folder: what of the project it may import. "x!" is x alone, not what lies below it.
MAY_IMPORT = {
    "node/raft": ("metastore.node.raft",),
    "node": ("metastore.node", "metastore.engines", "metastore.transport"),
    "engines": (
        "metastore.engines",
        *("metastore.transport.schema", "metastore.transport.auth_ops"),
    ),
    "transport": ("metastore.transport",),
    "client": ("metastore.client", "metastore.transport"),
    "api": ("metastore.api", "metastore.client", "metastore.transport"),
}
# The doors from the client's commands into the node and the gateway, inside of functions only:
# `serve`, `etcd` and `gateway` run one, `import_etcd` speaks etcd's protocol, the others read or
# make what a stopped node has on its disk (node/offline).
DOORS = {
    *(f"client/command/{name}.py" for name in ("serve", "etcd", "gateway", "import_etcd")),
    *(f"client/command/{name}.py" for name in ("backup", "restore", "convert", "recover")),
    *(f"client/command/{name}.py" for name in ("verify", "inspection")),
}
_BEHIND_DOORS = ("metastore.node", "metastore.api")
# One word per concept in the core; these are the others (the glossary's right column).
BANNED_WORDS = {
    *("idx", "epoch", "ballot", "acked", "journal", "anchor", "slave", "observer", "standby"),
    *("barrier", "nonce", "master"),
}
BANNED_NAMES = {"applied_index", "commit_idx", "dump", "checkpoint", "generation"}
BANNED_MODULES = {"utils", "util", "common", "helpers", "helper", "misc"}
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "XX" + "X")


@dataclass(frozen=True)
class Source:
    """One Python file: its path below the root and its text."""

    path: PurePosixPath
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @property
    def lines(self) -> Sequence[str]:
        return self.text.splitlines()

    @property
    def is_test(self) -> bool:
        return "tests" in self.path.parts or self.path.parts[0] == "integration"

    @property
    def is_library(self) -> bool:
        return self.path.parts[0] in LIBRARY and not self.is_test

    @property
    def is_core(self) -> bool:
        return self.path.parts[:2] == ("node", "raft") and not self.is_test


Rule = Callable[[Source], Iterator[str]]


def check_file_length(source: Source) -> Iterator[str]:
    if len(source.lines) > FILE_LINES_MAX:
        yield f"{len(source.lines)} lines, at most {FILE_LINES_MAX}"


def check_function_length(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"


def check_line_length(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_COLUMNS_MAX:
            yield f"line {number} has {len(line)} columns, at most {LINE_COLUMNS_MAX}"


def imports(source: Source) -> Iterator[tuple[str, bool]]:
    """Every imported module or name in full, and whether it stands inside a function."""
    inside = {
        id(inner)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    package = ("metastore", *source.path.parent.parts)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            start = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                yield f"{start}.{alias.name}", id(node) in inside


def check_imports(source: Source) -> Iterator[str]:
    if not source.is_library:
        return
    folder = "node/raft" if source.is_core else source.path.parts[0]
    for name, in_function in imports(source):
        if not name.startswith("metastore"):
            module = name.rpartition(".")[0] or name
            if source.is_core and not {name, module} & RAFT_MAY_IMPORT:
                yield f"the core may not import {name}"
        elif str(source.path) in DOORS and in_function and name.startswith(_BEHIND_DOORS):
            continue
        elif not any(name == may or name.startswith(may + ".") for may in MAY_IMPORT[folder]):
            yield f"{folder} may not import {name}"


def check_glossary(source: Source) -> Iterator[str]:
    if not source.is_core:
        return
    for node in ast.walk(source.tree):
        for name in _identifiers(node):
            if name in BANNED_NAMES or BANNED_WORDS & set(name.lower().split("_")):
                yield f"line {getattr(node, 'lineno', '?')}: {name} (see the glossary)"


def _identifiers(node: ast.AST) -> Iterator[str]:
    """The names that this node itself brings in or uses."""
    for attribute in ("id", "attr", "arg", "name", "asname"):
        value = getattr(node, attribute, None)
        if isinstance(value, str):
            yield value


def check_name(source: Source) -> Iterator[str]:
    name = source.path.stem
    if name in BANNED_MODULES:
        yield f"a module named {name} says nothing of what is in it"
    if name in sys.stdlib_module_names and name != "__main__":
        yield f"{name} shadows a module of the standard library"
    for part in source.path.parent.parts:
        if part in sys.stdlib_module_names or part in BANNED_MODULES:
            yield f"the folder {part} shadows the standard library or says nothing"


def check_docstring(source: Source) -> Iterator[str]:
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield "the module does not open with a docstring"


def check_no_print(source: Source) -> Iterator[str]:
    if source.is_library:
        for node in ast.walk(source.tree):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id == "print":
                yield f"line {called.lineno}: print in library code"


def check_no_assert(source: Source) -> Iterator[str]:
    if source.is_library:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Assert):
                yield f"line {node.lineno}: assert is removed by python -O; use invariant()"


def check_nothing_unfinished(source: Source) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and any(word in token.string for word in UNFINISHED):
            yield f"line {token.start[0]}: {token.string}"


def check_tests_are_no_package(source: Source) -> Iterator[str]:
    if source.path.name == "__init__.py" and source.path.parent.name == "tests":
        yield "tests/ is no package (it would be imported under a name of its own)"


RULES: dict[str, Rule] = {
    "file length": check_file_length,
    "function length": check_function_length,
    "line length": check_line_length,
    "imports": check_imports,
    "glossary": check_glossary,
    "name": check_name,
    "docstring": check_docstring,
    "no print": check_no_print,
    "no assert": check_no_assert,
    "nothing unfinished": check_nothing_unfinished,
    "tests are no package": check_tests_are_no_package,
}


def check_packages(root: Path, sources: Sequence[Source]) -> Iterator[str]:
    """The packages of pyproject.toml are the library's folders, no more and no less, each typed."""
    tool = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = set(tool["packages"])
    found = {".".join(("metastore", *s.path.parent.parts)) for s in sources if s.is_library}
    for name in sorted(found - listed):
        yield f"pyproject.toml does not list {name}: it would be missing from the wheel"
    for name in sorted(listed - found):
        yield f"pyproject.toml lists {name}, which has no module"
    for name in sorted({package.split(".")[1] for package in found}):
        if not (root / name / "py.typed").is_file():
            yield f"{name}/py.typed is missing"


def check_no_dead_module(sources: Sequence[Source]) -> Iterator[str]:
    """Every library module is imported by another one, or is an entry point."""
    imported = {name for source in sources if not source.is_test for name, _ in imports(source)}
    named = imported | {name.rpartition(".")[0] for name in imported}
    for source in sources:
        name = ".".join(("metastore", *source.path.with_suffix("").parts))
        # The command imports its subcommands by name, when they are asked for.
        by_name = source.path.parent.name == "command"
        entry = by_name or source.path.stem in ("__main__", "__init__", "main")
        entry = entry or str(source.path) in STANDING_ALONE
        if source.is_library and not entry and name not in named:
            yield f"{source.path}: nothing imports this module"


def read_tree(root: Path = ROOT) -> Sequence[Source]:
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
    paths += [root / name for name in COMMANDS if (root / name).is_file()]
    return [
        Source(PurePosixPath(path.relative_to(root).as_posix()), path.read_text("utf-8"))
        for path in paths
        if "__pycache__" not in path.parts
    ]


def problems(sources: Sequence[Source]) -> Iterator[str]:
    for source in sources:
        for name, rule in RULES.items():
            if (str(source.path), name) not in EXCEPTIONS:
                yield from (f"{source.path}: {name}: {sentence}" for sentence in rule(source))


def unused_exceptions(sources: Sequence[Source]) -> Iterator[str]:
    """An exception that is no longer needed goes."""
    by_path = {str(source.path): source for source in sources}
    for (path, rule), _ in EXCEPTIONS.items():
        if path not in by_path or not list(RULES[rule](by_path[path])):
            yield f"{path} no longer needs its exception from: {rule}"


def main() -> int:
    sources = read_tree()
    found = [*problems(sources), *check_packages(ROOT, sources), *check_no_dead_module(sources)]
    found += unused_exceptions(sources)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
