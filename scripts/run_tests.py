#!/usr/bin/env python3
"""Prepares what it needs and runs everything: format, lint, types, all tests with coverage.

    python3 scripts/run_tests.py [arguments for pytest]

Needs only Python 3.11 with venv. The exit code is 0 when every step passed.
"""

import sys

import environment


def main() -> int:
    environment.enter(extras=("dev",))
    import checks

    steps = (
        checks.format_check(),
        checks.lint(),
        checks.types(),
        checks.all_tests(sys.argv[1:]),
    )
    return checks.run(steps)


if __name__ == "__main__":
    raise SystemExit(main())
