"""Runs benchmarks by name, or all, prints their figures and one table, and writes docs/benchmarks.md."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks import document
from launcher.pdeathsig import die_with_parent

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the benchmarks there are: the modules that measure something."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if "\ndef measure() -> Result:" in path.read_text())


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
    wanted: list[str] = options.names or names()
    unknown = [name for name in wanted if name not in names()]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(names())}.", file=sys.stderr)
        return 2
    for name in wanted:
        # A table of a benchmark that died must not show what it found before.
        (document.kept_in() / f"{name}.json").unlink(missing_ok=True)
    status = max(run(name) for name in wanted)
    if len(wanted) > 1:
        print(f"\n{document.for_terminal(wanted)}")
    if document.is_full():
        write_page(is_whole=not options.names)
    return status


def run(name: str) -> int:
    """Run one benchmark in a process of its own, and return its exit status; 1 for one that died."""
    parent = os.getpid()
    command = [sys.executable, "-m", "benchmarks.measure", name]
    process = subprocess.run(command, check=False, preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent=parent))
    return 1 if process.returncode else 0


def write_page(*, is_whole: bool) -> None:
    """Write the page after a run of everything, and after one benchmark where the others were measured here too."""
    missing = [name for name in names() if name not in document.kept(names())]
    if missing and not is_whole:
        print(f"docs/benchmarks.md stays as it is: this data folder has no figures of {', '.join(missing)}.")
        return
    document.write(names())
    print("docs/benchmarks.md is written.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
