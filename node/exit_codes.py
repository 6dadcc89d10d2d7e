"""What a node's exit tells the supervisor: one number per class of failure.

Read by process.py (which maps failures to them) and by the loop (which returns one). Values only.
A supervisor may restart after NETWORK and INTERNAL; the others need a person first.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0  # asked to stop, and stopped in order
    CONFIGURATION = 2  # a setting is unknown, unusable or contradicts another
    STORAGE = 3  # a write or sync failed, or damage was found; the disk needs a look
    INVARIANT = 4  # an impossible state: a bug; keep the data directory for its report
    NETWORK = 5  # an address cannot be bound
    IDENTITY = 6  # the data directory is locked, another's, or not the one the cluster knows
    REMOVED = 7  # this node is no longer a member; it must not start again under this number
    INTERNAL = 70  # an error nobody foresaw; its traceback precedes the last line
