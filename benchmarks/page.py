"""Writes docs/benchmarks.md: a table with a row for each benchmark, and below it all
figures.
"""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.result import Result
from launcher.paths import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
_TEXT = """\
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

## Where the time goes

**A send**: three quarters of the web process's time are Django's ORM, which builds and compiles four reads and three
inserts anew each time; parsing, validation and the answer take a tenth. Reading key, account and mailbox in one
statement was tried, and took longer to build than the two reads.

**A webhook**: six inserts take a third, the message that wakes a worker a seventh, the question whether the message is
known a twelfth, and the rest is spread thin. In both benchmarks one process runs, whose Python code uses
one processor at a time: that is what limits it, not PostgreSQL.

## All figures

```
{tables}
```
"""


def write(name: str, result: Result, *, of_all: bool) -> bool:
    """Replace one benchmark on the page. Return False, and change nothing, if the page
    has figures of another machine, unless all are being measured (`of_all`).
    """
    page = PAGE.read_text()
    present_machine = machine()
    if f"Machine: {present_machine}.\n" not in page:
        if not of_all:
            return False
        page = _TEXT.format(machine=present_machine, rows="", tables="")
    rows = {row.split("`")[1]: row for row in re.findall(r"^\| `.*$", page, re.M)}
    blocks = page.partition("```\n")[2].removesuffix("\n```\n").split("\n\n")
    tables = {block.partition(":")[0]: block for block in blocks}
    rows[name] = row(name, result)
    tables[name] = result.table(name)
    in_order = (
        "\n".join(rows[one] for one in sorted(rows)),
        "\n\n".join(tables[one] for one in sorted(tables)),
    )
    PAGE.write_text(
        _TEXT.format(machine=present_machine, rows=in_order[0], tables=in_order[1])
    )
    return True


def row(name: str, result: Result) -> str:
    """Return the line of one benchmark in the table."""
    figure = result.figures[0]
    ratio = result.goals[0]
    cells = (
        f"`{name}`",
        result.title,
        f"{figure.name}: {figure}",
        f"{result.control.name}: {result.control}",
        f"{ratio.value:.2f}",
        ratio.words,
        f"missed: {result.missed}" if result.missed else "holds",
        f"{datetime.now(UTC):%Y-%m-%d}",
    )
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Return the kind of machine: processors, memory and versions, without its name."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        version = database.info.server_version
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    processors = (
        f"{os.cpu_count()} processors ({model[1] if model else platform.machine()})"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    versions = f"Python {platform.python_version()}, PostgreSQL {version // 10_000}.{version % 10_000}"
    return f"{processors}, {memory:.0f} GB of memory, {versions}"
