"""What `ingest` and `gateway_send` compare with: pgbench, running the SQL statements
that were recorded while one request was handled.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.serving import CLIENTS
from launcher.postgres import postgres_programs

NAME = f"pgbench, {CLIENTS} clients, simple"
# Values that are new with each request: hashes, ids of 26 letters and digits, and UUIDs
# in hex. pgbench draws their last 16 or 12 digits at random.
_ONE_OFF = re.compile(
    r"\b(?:(?:[0-9a-f]{48}|[0-9A-Za-z]{10})([0-9A-Za-z]{16})|[0-9a-f]{20}([0-9a-f]{12}))\b"
)

# A row of the ledger has the number that the statement before took from a sequence.
_TAKES_NUMBER = re.compile(
    r"^(SELECT .*nextval\('audit_entry_id_seq'\).*);$", re.MULTILINE
)
_HAS_NUMBER = re.compile(
    r'(INSERT INTO "(?:audit_entry(?:detail)?|alerts_unplannedact)" \([^)]*\) VALUES \()\d+'
)


def statements(request: Callable[[], None]) -> list[str]:
    """Return the SQL statements of a request, values included. Caches are warm, as they
    are under load.
    """
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    tries: list[list[str]] = []
    for _ in range(5):
        with CaptureQueriesContext(connection) as captured:
            request()
        tries.append([str(query["sql"]) for query in captured.captured_queries])
    # On a slow machine, values that are cached for a second may have been read again.
    return min(tries, key=len)


def as_script(one: list[str], other: list[str]) -> str:
    """Return the statements of one request as a pgbench script, with random values for
    those that differ from the other request.
    """
    assert len(one) == len(other), (one, other)
    same = "\n".join(other)
    names: dict[str, str] = {}

    def vary(match: re.Match[str]) -> str:
        digits = match[1] or match[2]
        if match[0] in same:
            return match[0]
        return (
            match[0][: -len(digits)]
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
    """Return the transactions a second that pgbench reaches with `script`, in the
    application's database role.

    In its simple protocol, each statement is planned each time. The product prepares
    its statements and sends some together, which is part of the comparison.
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
