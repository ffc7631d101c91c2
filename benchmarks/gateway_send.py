"""How many sends a second does the gateway take, against pgbench running the very same
statements, and what does HTML cost?
"""

import itertools
import json
import statistics
import time
from typing import Any

from benchmarks.load import requests_a_second
from benchmarks.processor import parser, postgres, spent, started
from benchmarks.result import Figure, Goal, Result, sized
from benchmarks.serving import CLIENTS, own_database, prepare, web_process
from benchmarks.statements import NAME, as_script, pgbench, statements

RUNS = sized(5, smoke=1)
SECONDS = sized(4, smoke=1)
WARM_UP = sized(1.5, smoke=0.5)
GOAL = 0.15
# Processor time of an HTML send, in sends of text.
HTML_GOAL = 1.6
HTML = "<p>It takes <b>three to five</b> working days.</p>" * 40
SLUG = "bench"

# Numbers for the subjects. They start at the time, because the gateway would take the
# same message as in an earlier run for a repetition.
_numbers = itertools.count(time.time_ns())


def measure() -> Result:
    """Measure the gateway and pgbench in turn, in a separate database."""
    with own_database():
        prepare()
        mailbox, key = make_sender()
        first, second = (statements(lambda: send_once(mailbox, key)) for _ in range(2))
        script = as_script(first, second)
        with web_process("gateway") as port:
            sends(port, mailbox, key, seconds=WARM_UP)
            sides = [
                (
                    *sends(port, mailbox, key, seconds=SECONDS),
                    *sends(port, mailbox, key, seconds=SECONDS, html=HTML),
                    pgbench(script, seconds=SECONDS),
                )
                for _ in range(RUNS)
            ]
    ours, text, html_rate, html, theirs = (
        statistics.median(side) for side in zip(*sides, strict=True)
    )
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("sends accepted and held", ours, "a second"),
            Figure("of HTML", html_rate, "a second"),
            Figure("processor time of one", text, "ms"),
            Figure("of HTML, parser included", html, "ms"),
            Figure("statements of one send", script.count(";\n"), "round trips"),
        ),
        control=Figure(NAME, theirs, "transactions a second"),
        goals=(
            Goal(
                "ratio",
                statistics.median(side[0] / side[-1] for side in sides),
                GOAL,
                at_most=False,
            ),
            Goal("time of HTML, in sends of text", html / text, HTML_GOAL),
        ),
    )


def make_sender() -> tuple[str, str]:
    """Make an account with a gated mailbox; return its id and a key that may send."""
    from gateway.accounts import new_key_text, register_key
    from gateway.mailboxes import make_mailbox
    from gateway.models import Account

    account, _ = Account.objects.get_or_create(slug=SLUG, defaults={"name": "Bench"})
    mailbox = make_mailbox(account, address="agent@bench.example", display_name="Bench")
    text = new_key_text()
    register_key(account, text, name="Bench", scopes=["read", "send"])
    return mailbox.pk, text


def message_body(html: str | None) -> bytes:
    """Return the JSON body of a send, different each time."""
    body = {
        "to": ["dana@northwind.example"],
        "subject": f"Your refund for order {next(_numbers)}",
        "markdown": "Dear Dana,\n\nyour refund is on its way.\n\n"
        + "It takes three to five working days. " * 15,
        "html": html,
        "metadata": {
            "discord_user": "ana#1",
            "discord_channel": "outreach",
            "discord_guild": "Acme",
        },
    }
    return json.dumps(body).encode()


def post(mailbox: str, key: str, html: str | None) -> bytes:
    """Return one whole HTTP request that sends a message."""
    body = message_body(html)
    head = (
        f"POST /v1/mailboxes/{mailbox}/send HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def sends(
    port: int, mailbox: str, key: str, *, seconds: float, html: str | None = None
) -> tuple[float, float]:
    """Return how many sends a second the gateway accepts, and how many milliseconds of
    processor time each takes of gateway, parser and PostgreSQL.
    """
    servers = {*started(), parser(), postgres()}
    before = spent(servers)
    rate = requests_a_second(
        port,
        clients=CLIENTS,
        seconds=seconds,
        request=lambda: post(mailbox, key, html),
        expect=b"202",
    )
    return rate, (spent(servers) - before) / max(rate * seconds, 1)


def send_once(mailbox: str, key: str) -> None:
    """Send a message in this process, with the same code as the gateway's process."""
    from django.test import Client, override_settings

    serving: dict[str, Any] = {
        "MIDDLEWARE": ["gateway.middleware.JsonOnlyMiddleware"],
        "GATEWAY_RATE_LIMIT": 0,
    }
    with override_settings(
        ROOT_URLCONF="gateway.urls", ALLOWED_HOSTS=["testserver"], **serving
    ):
        path = f"/v1/mailboxes/{mailbox}/send"
        headers = {"Authorization": f"Bearer {key}"}
        answer = Client().post(
            path, message_body(None), content_type="application/json", headers=headers
        )
    assert answer.status_code == 202, answer.content
