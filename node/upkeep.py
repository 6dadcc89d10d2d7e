"""What hangs on the applied state beside the answers: watches, the clock of leases, housekeeping.

Between effects.py, which says when something was applied, and the loop, which gives it its turns.
Keeps the order among the three; each of them has a module of its own.
"""

from dataclasses import dataclass

from metastore.engines.contract import Store
from metastore.node import garbage
from metastore.node.housekeeping import Housekeeping
from metastore.node.lease_clock import LeaseClock
from metastore.node.raft.node import RaftCore
from metastore.node.requests import Desk
from metastore.node.settings import Settings
from metastore.node.watch_clients import Reply
from metastore.node.watching import Watching

PROGRESS_MS = 5_000  # how often a quiet watch hears how far it is


@dataclass(frozen=True, slots=True)
class Upkeep:
    """All calls on the loop thread."""

    leases: LeaseClock
    housekeeping: Housekeeping
    watching: Watching

    def on_applied(self) -> None:
        self.leases.take_changes()
        self.watching.publish()

    def on_saved(self) -> None:
        garbage.leave_out_what_lasts()

    def on_installed(self) -> None:
        garbage.leave_out_what_lasts()
        self.leases.restart()
        self.housekeeping.on_installed()
        self.watching.publish()

    def on_tick(self) -> None:
        self.housekeeping.on_tick()
        self.watching.tick()

    def turn(self, *, is_idle: bool) -> bool:
        """Once a turn; whether the next one should begin at once."""
        more = self.watching.flush()
        self.housekeeping.compact_a_little(is_idle=is_idle)
        return more or self.housekeeping.has_more


def make_upkeep(
    settings: Settings, core: RaftCore, store: Store, desk: Desk, reply: Reply
) -> Upkeep:
    """For a store that has been recovered."""
    leases = LeaseClock(store)
    leases.restart()
    store.set_lease_clock(leases.remaining_s)
    housekeeping = Housekeeping(
        core,
        store,
        leases,
        quota_bytes=settings.quota_bytes,
        auto_compact_revisions=settings.auto_compact_revisions,
        may_propose=lambda: not desk.stopping,
    )
    ticks = max(1, PROGRESS_MS // settings.tick_ms)
    return Upkeep(leases, housekeeping, Watching(store, reply, progress_ticks=ticks))
