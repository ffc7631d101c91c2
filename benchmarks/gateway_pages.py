"""How much longer does the last page of 100,000 held messages take than the first, by cursor?"""

import statistics

from benchmarks.load import seconds_of
from benchmarks.result import Figure, Result, sized
from benchmarks.serving import own_database, prepare, web_process

ROWS, PAGE = sized(100_000, smoke=300), 100
TIMES, RUNS = sized(20, smoke=2), sized(5, smoke=1)
GOAL = 1.3
SLUG = "bench-pages"
# Ids sort by `n`, as ULIDs do by time.
FILL = """
INSERT INTO gateway_email (id, account_id, mailbox_id, direction, status, sandbox, created_at, from_address, from_name,
  reply_to, "to", cc, bcc, subject, markdown, has_attachments, message_id_header, in_reply_to, "references", thread_id,
  received_sha256, metadata, tags, oversight_mode, gated, gate_timing, decision, decision_reason, decided_by, attempts,
  fate_unknown, last_error, bounce_type, refused_recipients, reported)
SELECT '01BENCH' || lpad(n::text, 19, '0'), %(account)s, %(mailbox)s, 'outbound', 'pending_send_approval', false,
  now() - interval '1 day', 'pages@bench-pages.example', 'Bench', '', '{dana@northwind.example}', '{}', '{}',
  'Letter ' || n, repeat('Your refund is on its way. ', 20), false, '<' || n || '@bench.example>', '', '',
  'thread-' || n, '', '{"discord_user": "ana#1"}', '{}', 'gated_send', true, '', '', '', '', 0, false, '', '',
  '{}', '{}'
FROM generate_series(1, %(rows)s) AS n
"""


def measure() -> Result:
    """Ask for both pages in turn, from the web process as the product runs it."""
    with own_database():
        prepare()
        key = fill()
        first, last = page(key, ""), page(key, f"01BENCH{ROWS - PAGE:019}")
        with web_process("gateway") as port:
            for request in (first, last):
                seconds_of(port, request, times=5, expect=b"200")
            sides = [(median(port, last), median(port, first)) for _ in range(RUNS)]
    ours, theirs = (statistics.median(side) for side in zip(*sides, strict=True))
    return Result(
        question=__doc__ or "",
        figures=(Figure("held messages", ROWS, "rows"), Figure(f"last page of {PAGE}", ours, "milliseconds")),
        control=Figure(f"first page of {PAGE}", theirs, "milliseconds"),
        ratio=statistics.median(a / b for a, b in sides),
        goal=GOAL,
        runs=RUNS,
        at_most=True,
    )


def fill() -> str:
    """Hold the messages, and return a key that lists them."""
    from django.db import connection

    from gateway.accounts.accounts import make_account
    from gateway.accounts.keys import new_key_text, register_key
    from gateway.accounts.mailboxes import make_mailbox
    from gateway.models import Email

    account = make_account(name="Bench pages", slug=SLUG)
    mailbox = make_mailbox(account=account, address="pages@bench-pages.example", display_name="Bench")
    with connection.cursor() as cursor:
        cursor.execute(FILL, {"account": account.pk, "mailbox": mailbox.pk, "rows": ROWS})
        cursor.execute("ANALYZE gateway_email")
    assert Email.objects.filter(account=account).awaiting_decision().count() == ROWS
    text = new_key_text()
    register_key(account=account, name="Bench", scopes=["oversight_read"], text=text)
    return text


def page(key: str, cursor: str) -> bytes:
    """Return the request for one page."""
    path = f"/v1/oversight/pending?limit={PAGE}" + (f"&cursor={cursor}" if cursor else "")
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def median(port: int, request: bytes) -> float:
    """Return the milliseconds that one page takes."""
    return statistics.median(seconds_of(port, request, times=TIMES, expect=b"200")) * 1000
