"""What etcdctl printed, in words that are the same for every cluster: no ids, addresses, times.

Revisions are told from that at the start of the scenario: R+2. Not to be compared, and so left out:
sizes, hashes, versions, indexes and terms, and in which order members come, which goes by ids.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import text_format

from metastore.api.protocol.messages import rpc

if TYPE_CHECKING:
    from etcdctl_runs import Cluster

_REVISION = re.compile(r"((?:[Rr]ev(?:ision)?|compacted revision)\"?(?: ?[:=] ?\"?| ))(\d+)")
_AUTH_REVISION = re.compile(r"((?:auth_?revision)\"?(?: ?: ?| ))(\d+)", re.IGNORECASE)
_HASH = re.compile(r"\b\d{5,10}\b")
_LEFT_OUT = (
    # (what, how it is told)
    (r"(raft_?term\"?(?: ?: ?)\"?)\d+", r"\1TERM"),
    (r"(raft_?(?:applied_?)?index\"?(?: ?: ?))\d+", r"\1INDEX"),
    (
        r"((?:true|false)(, | +\| +)(?:true|false))(?:(?:, | +\| +)\d+){3}",
        r"\1\2TERM\2INDEX\2INDEX",
    ),
    (r"(db_?size(?:_?in_?use)?\"?(?: ?: ?))\d+", r"\1SIZE"),
    (r"((?:total_?)(?:size|key)\"?: ?)\d+", r"\1COUNT"),
    (r"(\"(?:keys|size)\" : )\d+", r"\1COUNT"),
    (r"(hash\"?(?: ?: ?))\d+", r"\1HASH"),
    (r"(?m)^[0-9a-f]{1,8}, \d+, \d+, ", "HASH, REVISION, COUNT, "),
    (r"\b3\.5\.\d+\b", "VERSION"),
    (r"\b\d+(?:\.\d+)? [kM]?B\b", "SIZE"),
    (r"\b\d+\.\d+(?:ms|µs|Âµs|s)\b", "TIME"),
    (r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"remaining\(\d+s?\)", "remaining(TIME)"),
    (r"(?-i:(\"ttl\":))\d+", r"\1TIME"),
    (r"(\"TTL\" : )\d+(?=\n\"GrantedTTL)", r"\1TIME"),
    (r"\b(?=[0-9a-f]*[a-f])[0-9a-f]{14,16}\b", "HEX"),
    (r"\b\d{15,20}\b", "ID"),
    (r"0x[0-9a-f]+", "POINTER"),
    (r"-{2,}", "--"),
    (r" {2,}", " "),
)
# What comes by ids, by chance or as each is done
_UNORDERED = ("member", "health", "--cluster", "list")
_ANSWERS = {
    "put": rpc.PutResponse,
    "get": rpc.RangeResponse,
    "del": rpc.DeleteRangeResponse,
    "txn": rpc.TxnResponse,
    "watch": rpc.WatchResponse,
    "lease": rpc.ResponseHeader,
}


class Words:
    """`made`: what the scenario has made so far, by name: ids in hexadecimal."""

    def __init__(self, cluster: "Cluster", made: Mapping[str, str], folder: Path) -> None:
        self._cluster = cluster
        self._made = made
        self._folder = folder

    def tell(self, text: str, command: Sequence[str] = ()) -> str:
        if any(word in command for word in _UNORDERED):
            text = self._sorted(text)
        text = "\n".join(_log_line(line) for line in text.split("\n"))
        text = self._names(text)
        if "hashkv" in command:
            found = list(dict.fromkeys(_HASH.findall(text)))
            text = _HASH.sub(lambda at: f"HASH {found.index(at[0])}", text)
        return text

    def _sorted(self, text: str) -> str:
        """By what is told, not by ids."""
        told = [self._sorted_line(line) for line in text.split("\n")]
        return "\n".join(sorted(told, key=self._names))

    def _sorted_line(self, line: str) -> str:
        """JSON, and a list of NAME=URL."""
        if line.startswith("ETCD_INITIAL_CLUSTER="):
            name, _, urls = line.partition("=")
            return f"{name}={sorted(urls.strip(chr(34)).split(','), key=self._names)}"
        try:
            told = json.loads(line)
        except ValueError:
            return line
        for part in [told, *(told.values() if isinstance(told, dict) else ())]:
            if isinstance(part, list):
                part.sort(key=lambda one: self._names(json.dumps(one)))
        return json.dumps(told)

    def _names(self, text: str) -> str:
        cluster = self._cluster
        text = text.replace(str(self._folder), "FOLDER")
        for role, one in zip(("LEADER", "FOLLOWER", "OTHER"), cluster.members, strict=False):
            text = text.replace(one.client, role).replace(one.peer, f"PEER OF {role}")
            text = text.replace(f"{one.node_id:x}", role).replace(str(one.node_id), role)
            text = re.sub(rf"\b{one.name}\b", f"NAME OF {role}", text)
        for number in (f"{cluster.cluster_id:x}", str(cluster.cluster_id)):
            text = text.replace(number, "CLUSTER")
        for name, hexadecimal in self._made.items():
            for number in (hexadecimal, str(int(hexadecimal, 16))):
                text = re.sub(rf"\b0*{number}\b", f"ID OF {name}", text)
        text = _AUTH_REVISION.sub(lambda at: self._since(at, cluster.auth_revision, "A"), text)
        text = _REVISION.sub(lambda at: self._since(at, cluster.revision, "R"), text)
        for what, told in _LEFT_OUT:
            text = re.sub(what, told, text, flags=re.IGNORECASE)
        return text

    def _since(self, found: "re.Match[str]", base: int, name: str) -> str:
        number = int(found[2])
        return f"{found[1]}{name}+{number - base}" if number >= base else found[0]


def _log_line(line: str) -> str:
    """Of a line of a log what it says, not when and where in etcd's own code."""
    try:
        told = json.loads(line)
    except ValueError:
        return line
    if not isinstance(told, dict) or "ts" not in told:
        return line
    return json.dumps({k: told[k] for k in ("level", "msg", "error") if k in told})


def protobuf(text: str, command: Sequence[str]) -> str:
    """What `-w protobuf` wrote (each byte a character), as text."""
    kind = next((_ANSWERS[word] for word in command if word in _ANSWERS), None)
    if kind is None or not text:
        return text
    return text_format.MessageToString(kind.FromString(text.encode("latin-1")), as_utf8=True)
