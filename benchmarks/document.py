"""The table of all benchmarks, for the terminal and for docs/benchmarks.md, from the figures that are kept."""

import json
import os
import platform
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.result import Result, is_smoke
from launcher.paths import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
_HEAD = """\
# Benchmarks

Written by `./run bench`, which measures everything; `./run bench NAME` measures one and replaces what this page says of
it. Each ratio compares a figure with a control of the same run, so that it means the same on another machine: a plain
Django view, pgbench with the same statements, the same work over few rows. Loads follow the machine: a rate is a share
of what a plain Django view reaches there. A goal that is missed is marked; [testing.md](testing.md) says how to run
them.

Machine: {machine}.

| name | question | figure | control | ratio | goal | | date |
|---|---|---|---|---|---|---|---|
{rows}

## All figures

```
{tables}
```
"""


def kept_in() -> Path:
    """Return the folder of the figures; those of another size than the full one are kept apart, and in no table."""
    folder = Path(os.environ["DATA_DIR"]) / "bench"
    return folder if is_full() else folder / "partial"


def is_full() -> bool:
    """Whether everything is measured at its full size."""
    return not is_smoke() and "BENCH_ROWS" not in os.environ


def machine() -> str:
    """Return what the figures were measured on: processors, memory, versions; nothing that names the machine."""
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        postgresql = database.info.server_version // 10_000, database.info.server_version % 10_000
    model = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next(line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")).split()[1]
    processors = f"{os.cpu_count()} processors ({model.partition(':')[2].strip() or platform.machine()})"
    versions = f"Python {platform.python_version()}, PostgreSQL {postgresql[0]}.{postgresql[1]}"
    return f"{processors}, {int(memory) / 1024**2:.0f} GB of memory, {versions}"


def _lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines()


def keep(name: str, result: Result) -> None:
    """Keep what one benchmark found."""
    folder = kept_in()
    folder.mkdir(parents=True, exist_ok=True)
    found = {"name": name, **result.as_dict(), "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
    (folder / f"{name}.json").write_text(json.dumps(found, indent=2))


def kept(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the kept figures of these benchmarks, of those that have any; not those of before this page was made."""
    files = {name: kept_in() / f"{name}.json" for name in names}
    found = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    return {name: one for name, one in found.items() if "machine" in one}


def for_terminal(names: Iterable[str]) -> str:
    """Return one line for each of these benchmarks."""
    names = list(names)
    rows = [("", "question", "figure", "control", "ratio", "goal", "")]
    found = kept(names)
    for name in names:
        cells = _cells(found[name]) if name in found else ("no figures", "", "", "", "", "")
        rows.append((name, textwrap.shorten(cells[0], 50, placeholder=" …"), *cells[1:]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def write(names: Iterable[str]) -> None:
    """Write the page."""
    names = list(names)
    found = kept(names)
    rows = [
        " | ".join((f"| `{name}`", *_cells(found[name]), found[name]["date"], "")).rstrip()
        if name in found
        else f"| `{name}` | no figures | | | | | | |"
        for name in names
    ]
    tables = [Result.from_dict(one).table(name) for name, one in found.items()]
    PAGE.write_text(_HEAD.format(machine=machine(), rows="\n".join(rows), tables="\n\n".join(tables)))


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    """Return the question, the figure, the control, the ratio, the goal and whether it and all else holds."""
    result = Result.from_dict(one)
    missed = [need.name for need in result.needs if not need.holds]
    word = "holds" if result.holds else f"missed: {', '.join(missed)}" if result.is_met else "missed"
    figure, control = (f"{each.name}: {each.shown()}" for each in (result.figures[0], result.control))
    return result.question, figure, control, f"{result.ratio:.2f}", result.bound, word
