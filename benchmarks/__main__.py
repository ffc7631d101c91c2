"""Runs benchmarks by name, or all, prints what each found, and writes
docs/benchmarks.md.
"""

import argparse
import importlib
import multiprocessing
import os
import signal
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor

from benchmarks.page import write
from benchmarks.result import Result
from launcher.orphans import die_with_parent

NAMES = (
    "alerts",
    "approval",
    "decide",
    "desk_keys",
    "gateway_send",
    "growth",
    "held_list",
    "ingest",
    "notices",
    "pages",
)


def main(asked: list[str]) -> int:
    """Run the named benchmarks, or all. Return the exit status: 1 if a goal is missed
    or a benchmark fails. (The parser exits with 2 for an unknown name.)
    """
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="run seconds only, to see that it works; no goal counts",
    )
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(NAMES))
    options = parser.parse_args(asked)
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(
            f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(NAMES)}."
        )
    if options.smoke:
        os.environ["BENCH_SMOKE"] = "1"
    results = {}
    for name in options.names or NAMES:
        results[name] = result = run(name)
        if (
            result
            and not options.smoke
            and not write(name, result, of_all=not options.names)
        ):
            print(
                "docs/benchmarks.md stays as it is: its figures are of another machine."
            )
    if len(results) > 1:
        print()
        for name, result in results.items():
            print(f"{name:<14}{result.goals[0] if result else 'failed'}")
    return (
        0
        if all(
            result and (options.smoke or not result.missed)
            for result in results.values()
        )
        else 1
    )


def run(name: str) -> Result | None:
    """Run one benchmark, print its table and return its result; None if it fails."""
    # Each benchmark has its own database, and Django keeps the one that it was set up
    # with. So each runs in its own process.
    fork = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(
            1, fork, initializer=die_with_parent, initargs=(signal.SIGTERM,)
        ) as process:
            result = process.submit(measure, name).result()
    except Exception:  # noqa: BLE001 - the others are measured nonetheless
        traceback.print_exc()
        return None
    print(result.table(name), flush=True)
    return result


def measure(name: str) -> Result:
    """Return the result of one benchmark."""
    result: Result = importlib.import_module(f"benchmarks.{name}").measure()
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
