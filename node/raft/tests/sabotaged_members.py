"""Members with one protecting line removed, for the twins of tests. No test is in here."""

from member_server import MemberServer

from metastore.node.raft.model import ConfigurationChange, Entry, EntryType
from metastore.node.raft.ready import Ready


class Hasty(MemberServer):
    """A change is in force when it is written, and stays so when it is truncated."""

    def _write(self, ready: Ready) -> None:
        for entry in ready.entries:
            if entry.type is EntryType.CONFIGURATION:
                self.core.apply_change(ConfigurationChange.decode(entry.data))
        super()._write(ready)


class AtOnce(Hasty):
    """As the paper has it: a configuration is in force as soon as it stands in the log, and that
    it is committed changes nothing."""

    def _apply(self, entry: Entry) -> None:
        is_normal = entry.type is EntryType.NORMAL
        super()._apply(entry if is_normal else Entry(entry.term, entry.index))


class Unsynced(MemberServer):
    """It promises before its disk has synced."""

    def _carry_out(self, ready: Ready) -> None:
        sync = self.disk.sync
        self.disk.sync = lambda: None  # type: ignore[method-assign]
        try:
            super()._carry_out(ready)
        finally:
            self.disk.sync = sync  # type: ignore[method-assign]
