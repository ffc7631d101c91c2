"""The control of `ingest` and `gateway_send`: pgbench with the statements that a
request was seen to make.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.serving import CLIENTS
from launcher.postgres import postgres_programs

NAME = f"pgbench, {CLIENTS} clients, simple"
# What is new with each request: hashes, ids of 26 letters and digits, and our own ids;
# 16 or 12 digits are drawn.
_ONE_OFF = re.compile(
    r"\b(?:(?:[0-9a-f]{48}|[0-9A-Za-z]{10})([0-9A-Za-z]{16})|[0-9a-f]{20}([0-9a-f]{12}))\b"
)

# A row of the ledger has the number that was taken for it a statement before.
_TAKES_NUMBER = re.compile(
    r"^(SELECT .*nextval\('audit_entry_id_seq'\).*);$", re.MULTILINE
)
_HAS_NUMBER = re.compile(
    r'(INSERT INTO "(?:audit_entry(?:detail)?|alerts_unplannedact)" \([^)]*\) VALUES \()\d+'
)


def statements(request: Callable[[], None]) -> list[str]:
    """Return what a request executes, values included, when the process has seen one a
    moment before, as under load.
    """
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    tries: list[list[str]] = []
    for _ in range(5):
        with CaptureQueriesContext(connection) as found:
            request()
        tries.append([str(query["sql"]) for query in found.captured_queries])
    # On a slow machine what is remembered for a second may have been read again in
    # between.
    return min(tries, key=len)


def as_script(one: list[str], other: list[str]) -> str:
    """Return the statements of one request for pgbench, with drawn values for what
    differs from another request.
    """
    assert len(one) == len(other), (one, other)
    same = "\n".join(other)
    names: dict[str, str] = {}

    def vary(found: re.Match[str]) -> str:
        digits = found[1] or found[2]
        if found[0] in same:
            return found[0]
        return (
            found[0][: -len(digits)]
            + ":"
            + names.setdefault(digits.upper(), f"n{len(digits)}_{len(names)}")
        )

    script = "".join(f"{_ONE_OFF.sub(vary, statement)};\n" for statement in one)
    script = _TAKES_NUMBER.sub(r"\1 \\gset ledger_", script)
    script = _HAS_NUMBER.sub(r"\1:ledger_nextval", script)
    draws = [
        f"\\set {name} random(1{'0' * (int(name[1:3]) - 1)}, {'9' * int(name[1:3])})\n"
        for name in names.values()
    ]
    return "".join(draws) + script


def pgbench(script: str, *, seconds: int) -> float:
    """Return the transactions a second that pgbench reaches with `script`, as the
    application's role.

    By its simple protocol it plans each statement each time. The product prepares the
    same statements and sends some of them together, which is a part of what is
    compared.
    """
    file = Path(os.environ["DATA_DIR"]) / "bench.sql"
    file.write_text(script)
    command = [
        str(postgres_programs() / "pgbench"),
        "-n",
        "-M",
        "simple",
        "-c",
        str(CLIENTS),
        "-j",
        "2",
    ]
    command += ["-T", str(seconds), "-f", str(file), "-d", os.environ["DATABASE_URL"]]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode or "failed transactions: 0 " not in process.stdout:
        raise RuntimeError(f"pgbench failed: {process.stderr or process.stdout}")
    return float(
        next(
            line for line in process.stdout.splitlines() if line.startswith("tps")
        ).split()[2]
    )
