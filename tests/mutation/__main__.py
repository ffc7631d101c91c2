"""`./run mutants [module ...]` breaks the core; `./run mutants show NAME` prints what one mutant changes.

`--sample 200` tries at most 200 mutants of each module, from all over it. Each module is broken in a copy of the
project under var/mutants, with servers of its own; two modules at a time.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

from launcher.servers import Servers
from tests.mutation.modules import MODULES, ROOT
from tests.prepared import preparing

_COPIES = ROOT / "var" / "mutants"
_NOTICED = ("killed", "timeout")


def main(asked: list[str]) -> int:
    """Break the named modules, or all; 2 for a name that does not exist, 1 when a run broke down."""
    if asked[:1] == ["show"] and len(asked) == 2:
        return show(asked[1])
    parser = argparse.ArgumentParser(prog="./run mutants")
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--sample", type=int, default=1_000_000, help="at most so many mutants of each module")
    options = parser.parse_args(asked)
    if options.sample < 1:
        parser.error("--sample must be at least 1")
    unknown = [name for name in options.modules if name not in MODULES]
    if unknown:
        print(f"There is no module {', '.join(unknown)}. There are: {', '.join(MODULES)}.", file=sys.stderr)
        return 2
    names = options.modules or list(MODULES)
    broke_down = False
    with ThreadPoolExecutor(max_workers=2) as pool:
        for name, seconds in zip(names, pool.map(partial(_break, most=options.sample), names), strict=True):
            broke_down |= seconds is None
            if seconds is not None:
                _report(name, seconds)
    return int(broke_down)


def show(mutant: str) -> int:
    """Print the difference that a mutant of the last run makes."""
    for name in MODULES:
        if mutant in _results(name):
            print("\n".join(_difference(name, mutant)))
            return 0
    print(f"The last run had no mutant {mutant}.", file=sys.stderr)
    return 2


def _break(name: str, *, most: int) -> float | None:
    """Return how many seconds it took, or nothing where it could not be done."""
    started = time.monotonic()
    copy = _copy(name)
    with _servers() as folder, (copy / "output.txt").open("w") as output:
        status = subprocess.run(
            [sys.executable, "-P", "-m", "tests.mutation.worker", name, str(most)],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy / "mutants"), "COUNTERSIGN_TEST_SERVERS": folder},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if status:
        print(f"{name}: broke down; {copy / 'output.txt'} tells why", file=sys.stderr)
    return None if status else time.monotonic() - started


def _report(name: str, seconds: float) -> None:
    all_ends = _results(name)
    ends = {mutant: end for mutant, end in all_ends.items() if end != "not checked"}
    numbers = Counter(ends.values())
    share = sum(numbers[end] for end in _NOTICED) / len(ends)
    breakdown = ", ".join(f"{number} {end}" for end, number in numbers.most_common())
    tried = f"{len(ends)} of {len(all_ends)} mutants"
    print(f"{name}: {tried}, {share:.1%} noticed ({breakdown}) in {seconds:.0f} s")
    for mutant, end in ends.items():
        if end not in _NOTICED:
            changed = [line for line in _difference(name, mutant)[2:] if line[0] in "-+"]
            print(f"  {end} {mutant}", *(f"      {line}" for line in changed), sep="\n", flush=True)


def _results(name: str) -> Mapping[str, str]:
    """Return how each mutant of the last run of a module ended."""
    metas = [_COPIES / name / "mutants" / f"{path}.meta" for path in MODULES[name].files]
    codes = [json.loads(meta.read_text())["exit_code_by_key"] for meta in metas if meta.exists()]
    return {mutant: status_by_exit_code[code] for of_file in codes for mutant, code in of_file.items()}


def _difference(name: str, mutant: str) -> list[str]:
    # mutmut looks into the present folder. Nothing that runs beside this goes by that.
    with contextlib.chdir(_COPIES / name):
        return get_diff_for_mutant(mutant, path=f"{mutant.rpartition('.')[0].replace('.', '/')}.py").splitlines()


def _copy(name: str) -> Path:
    """Return a folder with the module's files, and in its folder `mutants` the whole project, as mutmut wants it."""
    copy = _COPIES / name
    shutil.rmtree(copy, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for tracked_path in filter(None, tracked.split("\0")):
        _copy_file(Path(tracked_path), copy / "mutants")
    for path in (Path("pyproject.toml"), *MODULES[name].files):
        _copy_file(path, copy)
    (copy / "mutants" / ".servers").symlink_to(ROOT / ".servers")
    return copy


def _copy_file(path: Path, folder: Path) -> None:
    # What was deleted, but not yet in a commit, is listed too.
    if (ROOT / path).is_file():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)


@contextlib.contextmanager
def _servers() -> Iterator[str]:
    """Servers in a temporary folder, whose path is given; in their database all migrations have run."""
    with tempfile.TemporaryDirectory(prefix="countersign-", ignore_cleanup_errors=True) as folder:
        servers = Servers(data=Path(folder), durable=False)
        assert servers.postgres is not None
        preparing.copy_to(servers.postgres.data)
        try:
            servers.start()
            yield folder
        finally:
            servers.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
