"""What Python's collector of cycles need not look at: the state that a node holds.

Called by process.py around the start, by upkeep.py when a snapshot replaced the state or was saved.
Counting references frees nearly everything here, the collector only finds what refers to itself. It
walks the dict of all keys each time, with every thread standing still: a full collection took 140
to 260 ms with a million keys, longer than a heartbeat, and nothing once they were left out.
"""

import gc


def rest_while_loading() -> None:
    """Nothing is collected until leave_out_what_is_there: a state that is being loaded has no
    garbage, and it would be walked again each time it has grown by a quarter."""
    gc.disable()


def leave_out_what_is_there() -> None:
    """Everything alive now is never looked at again; it is still freed when nobody refers to it.
    Costs nothing. What is made later is collected as ever."""
    gc.freeze()
    gc.enable()


def leave_out_what_lasts() -> None:
    """The same for a running node, after every snapshot. What has been collected twice is kept for
    long, and nearly all of it is versions of keys. Without this each full collection walked all
    that came since the start: filling a node with 1 GB took 26 s and stopped the loop for 209 ms,
    now 15 s and 44 ms. A cycle that dies of old age after it was left out is never freed; none of
    ours lives so long."""
    gc.collect(1)
    gc.freeze()
