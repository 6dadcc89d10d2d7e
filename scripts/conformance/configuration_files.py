"""Confchange files: the configuration engine of changes.py alone, without any Raft around it."""

from conformance.datadriven import Directive
from conformance.operations import parse_operations

from metastore.node.raft.changes import Changer, ChangeRefused
from metastore.node.raft.configuration import Configuration
from metastore.node.raft.model import NO_LIMIT
from metastore.node.raft.progress import Progress

INFLIGHT_COUNT_MAX = 10


class ConfigurationRunner:
    """Keeps the configuration and its progress from one directive of a file to the next."""

    def __init__(self) -> None:
        self._configuration = Configuration()
        self._progress: dict[int, Progress] = {}
        # Refused directives count too: the files see in `next` when a progress was made.
        self._directives_run = 0

    def run(self, directive: Directive) -> str:
        """The actual output. Raises MalformedFile for arguments that make no sense."""
        changer = Changer(
            self._configuration, self._progress, self._directives_run, INFLIGHT_COUNT_MAX, NO_LIMIT
        )
        self._directives_run += 1
        changes = parse_operations(directive)
        try:
            if directive.command == "simple":
                result = changer.simple(changes)
            elif directive.command == "enter-joint":
                result = changer.enter_joint(directive.flag("autoleave"), changes)
            elif directive.command == "leave-joint":
                if changes:
                    raise directive.malformed("takes no changes")
                result = changer.leave_joint()
            else:
                return "unknown command"
        except ChangeRefused as refusal:
            return f"{refusal}\n"
        self._configuration, self._progress = result
        lines = [str(self._configuration)]
        lines += [f"{node_id}: {progress}" for node_id, progress in sorted(self._progress.items())]
        return "\n".join(lines)
