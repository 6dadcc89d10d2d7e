"""`python -m metastore.api`: serves the etcd API of one node. Everything is in process.py."""

import sys

from metastore.api.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
