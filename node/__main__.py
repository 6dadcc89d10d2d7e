"""`python -m metastore.node`: runs one node. Everything is in process.py."""

import sys

from metastore.node.process import main

if __name__ == "__main__":
    sys.exit(main())
