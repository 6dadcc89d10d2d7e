"""Has etcdctl do scenarios (how they are written: etcdctl_keys.py) with one cluster, and tells what
it printed in words that are the same for every cluster (etcdctl_words.py)."""

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from etcd_tools import BINARIES
from etcdctl_words import Words, protobuf
from node_processes import eventually

PROGRAMS = {"3.5": BINARIES / "etcdctl", "3.4": Path("/usr/bin/etcdctl")}
COMMAND_S = 60
NOWHERE = "127.0.0.1:1"
NOT_MADE = "deadbeef"
LARGE = "x" * 1_600_000
_STEP = re.compile(
    r"(?:@(?P<at>\w+) )?(?P<variables>(?:[A-Z_]+=\S+ )*)"
    r"(?:(?P<beside>&)?(?P<lines>\d*)\| )?(?P<command>.*?)"
    r"(?: <<< (?P<text>.*?))?(?: => (?P<name>\w+))?(?P<differs>  # .*)?"
)
_MADE = re.compile(r"(?:lease |Member\s+)(?P<hex>[0-9a-f]+)|\"ID\" ?: ?(?P<decimal>\d+)")


class Member(NamedTuple):
    node_id: int
    name: str
    client: str  # host:port
    peer: str  # URL


@dataclass(frozen=True)
class Cluster:
    """As it was before a scenario; the leader is first, the others follow by name."""

    members: Sequence[Member]
    cluster_id: int
    revision: int
    auth_revision: int


class Outcome(NamedTuple):
    """What a step came to; code minus a signal's number."""

    step: str
    code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"$ {self.step}\n[{self.code}]\n{self.stdout}\n{self.stderr}"


def steps_of(text: str) -> list[str]:
    return [line.strip() for line in text.replace("\\\n", "").splitlines() if line.strip()]


def post(address: str, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(address, timeout=COMMAND_S)
    try:
        connection.request("POST", path, json.dumps(fields))
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def made_by(printed: str) -> str:
    """The id of the lease or member, in hexadecimal."""
    found = _MADE.search(printed)
    if not found:
        return NOT_MADE
    return found["hex"] or f"{int(found['decimal']):x}"


def look_at(endpoints: Sequence[str]) -> Cluster:
    """Once they have a leader and all members have told where their clients come."""

    def seen() -> Cluster | None:
        status = post(endpoints[0], "/v3/maintenance/status", {})
        members = [
            Member(
                int(one["ID"]),
                one.get("name", ""),
                one.get("clientURLs", [""])[0].removeprefix("http://"),
                one["peerURLs"][0],
            )
            for one in post(endpoints[0], "/v3/cluster/member/list", {})["members"]
        ]
        leader = int(status.get("leader", 0))
        if not leader or {one.client for one in members} != set(endpoints):
            return None
        members.sort(key=lambda one: (one.node_id != leader, one.name))
        newest = post(endpoints[0], "/v3/kv/range", {"key": "AA=="})["header"]
        return Cluster(
            members,
            int(newest["cluster_id"]),
            int(newest["revision"]),
            int(post(endpoints[0], "/v3/auth/status", {})["authRevision"]),
        )

    return eventually("the cluster has a leader and knows its members", seen)


@dataclass
class Run:
    """One scenario with one cluster and one etcdctl."""

    version: str
    prefix: str
    endpoints: Sequence[str]
    folder: Path
    _beside: "list[_Started]" = field(default_factory=list)
    _made: dict[str, str] = field(default_factory=dict)

    def play(self, steps: Sequence[str]) -> Iterator[Outcome]:
        self._cluster = look_at(self.endpoints)
        self._words = Words(self._cluster, self._made, self.folder)
        self._number = 0
        try:
            for step in steps:
                yield from self._take(step)
        finally:
            for started in self._beside:
                started.process.kill()
                started.process.wait()

    def _take(self, step: str) -> Iterator[Outcome]:
        parsed = _STEP.fullmatch(step)
        assert parsed, step
        words = parsed.groupdict()
        if step.startswith("POST "):
            _, path, fields = self._fill(step).split(" ", 2)
            answer = post(self._cluster.members[0].client, path, json.loads(fields))
            yield Outcome(step, 0, self._words.tell(json.dumps(answer)), "")
        elif words["command"] == "end" or step.startswith("end "):
            lines = int(step[4:].rstrip("|") or 0)
            yield self._beside.pop(0).ended(self._words, lines)
        else:
            started = self._start(step, words)
            if words["beside"]:
                if words["lines"]:
                    started.wait_for(int(words["lines"]))
                self._beside.append(started)
                return
            outcome = started.ended(self._words, int(words["lines"]) if words["lines"] else None)
            if words["name"]:
                self._made[words["name"]] = made_by(started.output("stdout"))
                outcome = started.ended(self._words)
            yield Outcome(step, outcome.code, "", "") if words["differs"] else outcome

    def _start(self, step: str, words: Mapping[str, str]) -> "_Started":
        cluster = self._cluster
        at = [one.client for one in cluster.members]
        places = {"all": at, "leader": at[:1], "follower": at[1:2], None: at[:1]}
        arguments = shlex.split(self._fill(words["command"]))
        command = [str(PROGRAMS[self.version])]
        if not arguments[0].startswith("--endpoints"):
            command += ["--endpoints", ",".join(places[words["at"]])]
        if "--command-timeout" not in step:
            command += ["--command-timeout", f"{COMMAND_S / 2:.0f}s"]
        variables = dict(part.split("=") for part in self._fill(words["variables"]).split())
        text = self._fill(words["text"] or "").encode("latin-1", "backslashreplace")
        text = text.decode("unicode_escape").replace("%large", LARGE)
        self._number += 1
        return _Started(
            step,
            [*command, *arguments],
            text,
            self.folder / f"{self._number}",
            variables,
            keeps_open=bool(words["lines"] or words["beside"]),
        )

    def _fill(self, text: str) -> str:
        cluster = self._cluster
        leader, follower = cluster.members[0], cluster.members[min(1, len(cluster.members) - 1)]
        values = {
            "p": self.prefix,
            "tmp": str(self.folder),
            "leader": leader.client,
            "leader_id": f"{leader.node_id:x}",
            "leader_id10": str(leader.node_id),
            "leader_peer": leader.peer,
            "follower_id": f"{follower.node_id:x}",
            "follower_peer": follower.peer,
            "nowhere": NOWHERE,
            **self._made,
        }
        text = re.sub(r"\{r\+(\d+)\}", lambda at: str(cluster.revision + int(at[1])), text)
        return re.sub(r"\{(\w+)\}", lambda at: values[at[1]], text)


class _Started:
    """A running etcdctl, whose output goes to files: lines are waited for there."""

    def __init__(
        self,
        step: str,
        command: Sequence[str],
        text: str,
        files: Path,
        variables: Mapping[str, str],
        keeps_open: bool,
    ) -> None:
        self._step = step
        self._command = command
        self._files = files
        kept = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")}
        with self._file("stdout").open("wb") as out, self._file("stderr").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env=kept | variables,
                cwd=files.parent,
            )
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
            if not keeps_open:
                self.process.stdin.close()
        except BrokenPipeError:
            pass  # it ended before it had read it

    def _file(self, name: str) -> Path:
        return self._files.with_name(f"{self._files.name}.{name}")

    def output(self, name: str) -> str:
        return self._file(name).read_text(encoding="latin-1")

    def wait_for(self, lines: int) -> None:
        """Or until it ends before."""
        eventually(
            f"{lines} lines of {self._step}: {self._file('stdout')}",
            lambda: self.output("stdout").count("\n") >= lines or self.process.poll() is not None,
            COMMAND_S,
        )

    def ended(self, words: Words, lines: int | None = None) -> Outcome:
        """By itself, or with `lines` by SIGINT."""
        if lines is not None:
            self.wait_for(lines)
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(COMMAND_S)
        if self.process.stdin is not None:
            self.process.stdin.close()
        out, err = self.output("stdout"), self.output("stderr")
        if "protobuf" in self._command:
            out = protobuf(out, self._command)
        told = (words.tell(text, self._command) for text in (out, err))
        return Outcome(self._step, code, *told)
