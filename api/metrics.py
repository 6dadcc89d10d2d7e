"""What is counted, in Prometheus' text and under etcd's names, so that its dashboards work.

Numbers of the node are asked of its status socket when they are wanted; what a node does not tell
is not shown. A registry of its own: who embeds a gateway may have metrics too.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from metastore.api.calls import Method, Status
from metastore.api.version import CLUSTER_VERSION, ETCD_VERSION

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABELS = ("grpc_type", "grpc_service", "grpc_method")
# Go's names of the codes, which dashboards know: "OK", "InvalidArgument".
_CODE_NAMES = {
    code: "OK" if code is Status.OK else code.name.title().replace("_", "") for code in Status
}
_CODE_NAMES[Status.CANCELLED] = "Canceled"


class MethodCounts:
    """Of one method; looked up once, since it is counted at every call."""

    def __init__(self, method: Method, started: Counter, handled: Counter) -> None:
        self._labels = _labels_of(method)
        self._started = started.labels(*self._labels)
        self._handled = handled
        self._by_code: dict[Status, Any] = {}
        self._code_of(Status.OK)

    def begin(self) -> None:
        self._started.inc()

    def end(self, code: Status) -> None:
        self._code_of(code).inc()

    def _code_of(self, code: Status) -> Any:
        found = self._by_code.get(code)
        if found is None:
            found = self._handled.labels(*self._labels, _CODE_NAMES[code])
            self._by_code[code] = found
        return found


class Metrics:
    """Fed by both servers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._methods: dict[str, MethodCounts] = {}
        # Their names as samples are with _total, as etcd's.
        self._started = Counter(
            "grpc_server_started", "Calls begun.", _LABELS, registry=self._registry
        )
        self._handled = Counter(
            "grpc_server_handled", "Calls ended.", (*_LABELS, "grpc_code"), registry=self._registry
        )
        self._received = Counter(
            "etcd_network_client_grpc_received_bytes",
            "Bytes of messages from clients.",
            registry=self._registry,
        )
        self._sent = Counter(
            "etcd_network_client_grpc_sent_bytes",
            "Bytes of messages to clients.",
            registry=self._registry,
        )
        self._node = _NodeNumbers()
        self._registry.register(self._node)
        ProcessCollector(registry=self._registry)

    def of(self, method: Method) -> MethodCounts:
        counts = self._methods.get(method.path)
        if counts is None:
            counts = MethodCounts(method, self._started, self._handled)
            self._methods[method.path] = counts
        return counts

    def received(self, size: int) -> None:
        self._received.inc(size)

    def sent(self, size: int) -> None:
        self._sent.inc(size)

    def health(self, *, is_good: bool) -> None:
        """Somebody asked for it, and was told so."""
        if is_good:
            self._node.health_successes += 1
        else:
            self._node.health_failures += 1

    def note_leader(self, leader_id: int) -> None:
        """What the node says at each look, 0: none; how often it was another than before is
        counted."""
        self._node.note_leader(leader_id)

    def text(self, status: dict[str, Any] | None) -> bytes:
        """`status`: what the node's status socket says; None: it does not answer."""
        self._node.status = status
        lines = generate_latest(self._registry).splitlines(keepends=True)
        # When each counter was made is of no use, and etcd does not tell it.
        return b"".join(line for line in lines if b"_created" not in line)


def _labels_of(method: Method) -> tuple[str, str, str]:
    kinds = {
        (False, False): "unary",
        (True, False): "client_stream",
        (False, True): "server_stream",
        (True, True): "bidi_stream",
    }
    return kinds[method.takes_stream, method.sends_stream], method.service, method.name


class _NodeNumbers:
    """A collector of prometheus_client."""

    def __init__(self) -> None:
        self.status: dict[str, Any] | None = None
        self.health_successes = 0
        self.health_failures = 0
        self._leader = 0
        self._leader_changes = 0

    def collect(self) -> Iterator[Metric]:
        yield _labelled("etcd_server_version", "Whose API.", "server_version", ETCD_VERSION)
        cluster_version = CLUSTER_VERSION.rpartition(".")[0]
        yield _labelled("etcd_cluster_version", "Of all.", "cluster_version", cluster_version)
        yield _gauge("etcd_server_health_success", "Good answers.", self.health_successes)
        yield _gauge("etcd_server_health_failures", "Bad answers.", self.health_failures)
        status = self.status
        yield _gauge("etcd_server_has_leader", "A leader is known.", _has_leader(status))
        if status is not None:
            self.note_leader(status["leader_id"])
            changes = "etcd_server_leader_changes_seen"
            yield CounterMetricFamily(changes, "Leaders seen.", self._leader_changes)
            yield from _of_raft(status)
            yield from _of_store(status["store"], status["log"])
            yield from _sync_latency(status["sync_latency_ms"])

    def note_leader(self, leader: int) -> None:
        if leader not in (0, self._leader):
            self._leader_changes += 1
            self._leader = leader


def _has_leader(status: dict[str, Any] | None) -> bool:
    return status is not None and bool(status["leader_id"])


def _of_raft(status: dict[str, Any]) -> Iterator[Metric]:
    own, leader = status["node_id"], status["leader_id"]
    yield _labelled("etcd_server_id", "This node's.", "server_id", f"{own:x}")
    yield _gauge("etcd_server_is_leader", "It is this node.", leader == own)
    is_learner = own in status["configuration"]["learners"]
    yield _gauge("etcd_server_is_learner", "This node votes never.", is_learner)
    # etcd has these two as gauges that end in _total.
    yield _gauge("etcd_server_proposals_committed_total", "Commit index.", status["commit"])
    yield _gauge("etcd_server_proposals_applied_total", "Applied index.", status["applied"])
    pending = status["counters"].get("proposals.pending")
    if pending is not None:
        yield _gauge("etcd_server_proposals_pending", "Waiting to be committed.", pending)


def _of_store(store: dict[str, Any], log: dict[str, Any]) -> Iterator[Metric]:
    quota = "etcd_server_quota_backend_bytes"
    yield _gauge(quota, "Above it, writes are refused.", store["quota_bytes"])
    total, in_use = (f"etcd_mvcc_db_total_size_in{part}bytes" for part in ("_", "_use_in_"))
    yield _gauge(total, "Of the store and its log.", store["size_bytes"] + log["bytes"])
    yield _gauge(in_use, "Of the store.", store["size_bytes"])
    yield _gauge("etcd_debugging_mvcc_keys_total", "Keys.", store["key_count"])
    yield _gauge("etcd_debugging_mvcc_current_revision", "Revision.", store["revision"])
    compacted = store["compacted_revision"]
    yield _gauge("etcd_debugging_mvcc_compact_revision", "Compacted up to it.", compacted)
    yield _gauge("etcd_debugging_mvcc_watcher_total", "Watches.", store["watches"])
    yield _gauge("metastore_leases", "Leases there are.", store["leases"])


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=float(value))


def _labelled(name: str, what: str, label: str, value: str) -> Metric:
    """A fact as metrics tell it: always 1, and the label says it."""
    found = GaugeMetricFamily(name, what, labels=(label,))
    found.add_metric((value,), 1)
    return found


def _sync_latency(latency: dict[str, Any]) -> Iterator[Metric]:
    """etcd has a histogram since its start; the node knows the quantiles of its newest syncs."""
    found = Metric("etcd_disk_wal_fsync_duration_seconds", "Newest syncs of the log.", "summary")
    for name, quantile in (("p50", "0.5"), ("p99", "0.99"), ("max", "1")):
        if name in latency:
            found.add_sample(found.name, {"quantile": quantile}, latency[name] / 1000)
    if found.samples:
        yield found
