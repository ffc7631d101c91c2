"""Runs benchmarks by name, prints their tables, and keeps the figures under DATA_DIR/bench."""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.result import Result, is_smoke

FOLDER = Path(__file__).parent
_ROWS = {"ledger_rows", "queue_rows", "sent_rows"}
NOT_QUESTIONS = {
    "__init__",
    "__main__",
    "admin_list",
    "discord_channel",
    "load",
    "result",
    "serving",
    "slow_connections",
    "slow_multimail",
    *_ROWS,
}


def names() -> list[str]:
    """Return the benchmarks there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in NOT_QUESTIONS)


def main(asked: list[str]) -> int:
    """Run the wanted benchmarks, or all; 2 for a name that does not exist, 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--rows", type=int, help="how many rows the ledger's benchmarks begin with")
    parser.add_argument("--smoke", action="store_true", help="run seconds only, to see that it works; no goal counts")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(asked)
    if options.rows is not None:
        os.environ["BENCH_ROWS"] = str(options.rows)
    if options.smoke:
        os.environ["BENCH_SMOKE"] = "1"
    wanted: list[str] = options.names
    unknown = [name for name in wanted if name not in names()]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(names())}.", file=sys.stderr)
        return 2
    if len(wanted) != 1:
        # A process each: a benchmark may have a database of its own, and Django knows one for good.
        return max(run_apart(name) for name in wanted or names())
    result: Result = importlib.import_module(f"benchmarks.{wanted[0]}").measure()
    keep(wanted[0], result)
    print(result.table(wanted[0]))
    return 0 if result.holds or is_smoke() else 1


def run_apart(name: str) -> int:
    """Run one benchmark in a process of its own, and return its exit status; 1 for one that died."""
    return 1 if subprocess.run([sys.executable, "-m", "benchmarks", name], check=False).returncode else 0


def keep(name: str, result: Result) -> None:
    """Write the figures where tools find them."""
    folder = Path(os.environ["DATA_DIR"]) / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
    (folder / f"{name}.json").write_text(json.dumps({"name": name, **result.as_dict(), "environment": facts}, indent=2))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
