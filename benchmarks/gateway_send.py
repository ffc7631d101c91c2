"""How many sends a second does the gateway take, against pgbench running the very same statements?"""

import itertools
import json
import re
import statistics
import time
from typing import Any

from benchmarks.load import requests_a_second
from benchmarks.result import Figure, Result, sized
from benchmarks.serving import CLIENTS, own_database, pgbench, prepare, web_process

RUNS, SECONDS, WARM_UP = sized(5, smoke=1), sized(4, smoke=1), sized(1.5, smoke=0.5)
GOAL = 0.25
SLUG = "bench"
# pgbench merges values into the text of a statement and plans it each time, as Django does. The gateway prepares the
# same statements and sends some of them together, which is a part of what is compared.
PROTOCOL = "simple"

# Different from those of a run a moment ago, which would be repetitions.
_numbers = itertools.count(time.time_ns())
# What is new with each send, and 16 of its last characters, which stay unique on their own.
_ONE_OFF = re.compile(r"\b(?:[0-9a-f]{48}|[0-9A-Za-z]{10})([0-9A-Za-z]{16})\b")


def measure() -> Result:
    """Measure both sides in turn, in a database of their own."""
    with own_database():
        prepare()
        mailbox, key = make_sender()
        script = as_script(statements(mailbox, key), statements(mailbox, key))
        with web_process("gateway") as port:
            sends(port, mailbox, key, seconds=WARM_UP)
            sides = [(sends(port, mailbox, key, seconds=SECONDS), control(script)) for _ in range(RUNS)]
    ours, theirs = (statistics.median(side) for side in zip(*sides, strict=True))
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("sends accepted and held", ours, "a second"),
            Figure("statements of one send", script.count(";\n"), "round trips"),
        ),
        control=Figure(f"pgbench, {CLIENTS} clients, {PROTOCOL}", theirs, "transactions a second"),
        ratio=statistics.median(a / b for a, b in sides),
        goal=GOAL,
        runs=RUNS,
    )


def make_sender() -> tuple[str, str]:
    """Make an account with a gated mailbox, and return the mailbox's id and a key that may send."""
    from gateway.accounts.accounts import make_account
    from gateway.accounts.keys import new_key_text, register_key
    from gateway.accounts.mailboxes import make_mailbox

    account = make_account(name="Bench", slug=SLUG)
    mailbox = make_mailbox(account=account, address="agent@bench.example", display_name="Bench")
    text = new_key_text()
    register_key(account=account, name="Bench", scopes=["read", "send"], text=text)
    return mailbox.pk, text


def message_body() -> bytes:
    """Return the body of a send, different each time."""
    body = {
        "to": ["dana@northwind.example"],
        "subject": f"Your refund for order {next(_numbers)}",
        "markdown": "Dear Dana,\n\nyour refund is on its way.\n\n" + "It takes three to five working days. " * 15,
        "metadata": {"discord_user": "ana#1", "discord_channel": "outreach", "discord_guild": "Acme"},
    }
    return json.dumps(body).encode()


def post(mailbox: str, key: str) -> bytes:
    """Return one whole request."""
    body = message_body()
    head = (
        f"POST /v1/mailboxes/{mailbox}/send HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def sends(port: int, mailbox: str, key: str, *, seconds: float) -> float:
    """Return the sends a second."""
    return requests_a_second(port, clients=CLIENTS, seconds=seconds, request=lambda: post(mailbox, key), expect=b"202")


def control(script: str) -> float:
    """Return the transactions a second of the same statements."""
    return pgbench(script, seconds=SECONDS, protocol=PROTOCOL)


def statements(mailbox: str, key: str) -> list[str]:
    """Return what one send executes, values included, as the process that answers it does."""
    from django.db import connection
    from django.test import Client, override_settings
    from django.test.utils import CaptureQueriesContext

    serving: dict[str, Any] = {"MIDDLEWARE": ["gateway.middleware.JsonOnlyMiddleware"], "GATEWAY_RATE_LIMIT": 0}
    with override_settings(ROOT_URLCONF="gateway.urls", ALLOWED_HOSTS=["testserver"], **serving):
        for _ in range(2):  # the first use of a key in a minute is noted, the second is like all others
            with CaptureQueriesContext(connection) as captured:
                headers = {"Authorization": f"Bearer {key}"}
                path = f"/v1/mailboxes/{mailbox}/send"
                answer = Client().post(path, message_body(), content_type="application/json", headers=headers)
                assert answer.status_code == 202, answer.content
    return [str(query["sql"]) for query in captured.captured_queries]


def as_script(one: list[str], other: list[str]) -> str:
    """Return the statements of one send for pgbench, with random values for what differs from another send."""
    assert len(one) == len(other)
    same = "\n".join(other)
    names: dict[str, str] = {}

    def vary(found: re.Match[str]) -> str:
        if found[0] in same:
            return found[0]
        return found[0][:-16] + ":" + names.setdefault(found[1].upper(), f"n{len(names) + 1}")

    varied = [_ONE_OFF.sub(vary, statement) for statement in one]
    draws = [f"\\set {name} random(1000000000000000, 9999999999999999)" for name in names.values()]
    return "\n".join([*draws, *(f"{statement};" for statement in varied)]) + "\n"
