"""Runs one benchmark, keeps what it found and prints it: `python -m benchmarks.measure NAME`.

A process each: a benchmark may have a database of its own, and Django knows one for good.
"""

import importlib
import sys

from benchmarks.document import keep
from benchmarks.result import Result, is_smoke


def main(name: str) -> int:
    """Measure; 1 when a goal is missed, which a smoke run cannot be."""
    result: Result = importlib.import_module(f"benchmarks.{name}").measure()
    keep(name, result)
    print(result.table(name))
    return 0 if result.holds or is_smoke() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
