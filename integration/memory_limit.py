"""Runs a program with at most so many bytes of private memory: memory_limit.py BYTES PROGRAM...

The limit is RLIMIT_DATA: heap, anonymous mappings and the stacks of threads, which is what a
program holds for itself. RLIMIT_AS would count reserved addresses as well (64 MiB for each thread's
arena, and every file that is mapped), which cost no memory. What is allocated beyond it fails, as
it would on a machine that has no more. The program replaces this process and keeps its pid.
"""

import os
import resource
import sys


def main() -> None:
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
