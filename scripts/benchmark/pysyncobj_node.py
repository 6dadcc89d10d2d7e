"""One PySyncObj process. The driver reads a number of seconds per line, writes that long one at a
time and prints the operations per second; a peer only replicates."""

import sys
import time

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.batteries import ReplDict


def main() -> None:
    role, journal, own, *others = sys.argv[1:]
    table = ReplDict()
    node = SyncObj(own, others, SyncObjConf(journalFile=journal), consumers=[table])
    node.waitReady()
    if role == "peer":
        while True:
            time.sleep(60)
    print("ready")
    for line in sys.stdin:
        seconds, count, started = float(line), 0, time.monotonic()
        while time.monotonic() - started < seconds:
            table.set(f"key-{count % 1000}", "v" * 128, sync=True, timeout=10)
            count += 1
        print(count / (time.monotonic() - started))


if __name__ == "__main__":
    main()
