"""How much longer does a page or a call take while 200 connections of each kind, or fewer, are slow on that port?"""

import os
import statistics

from benchmarks.load import seconds_of
from benchmarks.result import Figure, Result, sized
from benchmarks.serving import own_database, prepare, web_process, within_reach
from benchmarks.slow_connections import dripping, slow_body, slow_connections, slow_headers, slow_reader

MOST, TIMES, RUNS = sized(200, smoke=5), sized(40, smoke=2), sized(5, smoke=1)
# Connections of each kind, of the requests a second of a plain Django view: each sends a byte a second.
SHARE = 0.4
GOAL = 2.0
SIGNATURE = {"X_Signature_Ed25519": "00" * 64, "X_Signature_Timestamp": "1"}


def measure() -> Result:
    """Time each in turn while the port is quiet and while it is not, and take the port that suffers more."""
    with own_database():
        os.environ["DEMO"] = "0"
        prepare()
        each = within_reach(MOST, share=SHARE)
        found = {"a page of the desk": desk(each), "a call of the gateway": gateway(each)}
    name, (slow, quiet, ratio) = max(found.items(), key=lambda one: one[1][2])
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"{name}, beside slow clients", slow, "milliseconds"),
            *(Figure(f"ratio of {other}", figures[2], "") for other, figures in found.items()),
            Figure("slow connections of each kind", each, ""),
        ),
        control=Figure(f"{name}, alone", quiet, "milliseconds"),
        ratio=ratio,
        goal=GOAL,
        runs=RUNS,
        at_most=True,
    )


def desk(each: int) -> tuple[float, float, float]:
    """Return the milliseconds of the queue's page beside slow clients and alone, and their ratio."""
    from benchmarks.desk_live import make_desk
    from upstream.signatures import HEADER

    webhook_id, cookie = make_desk()
    request = f"GET /queue/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
    signed = {HEADER: "sha256=00", "Content_Type": "application/json"}
    kinds = (
        slow_headers(),
        slow_body("/csp-report/"),
        slow_body("/discord/interactions/", **SIGNATURE),
        slow_body(f"/webhooks/multimail/{webhook_id}/", **signed),
        slow_body("/accounts/login/", Cookie=cookie),
        slow_reader(large_file()),
    )
    with web_process("dashboard") as port:
        return compared(port, request, kinds * each)


def gateway(each: int) -> tuple[float, float, float]:
    """Return the same of a call of the gateway."""
    from gateway.accounts.accounts import make_account
    from gateway.accounts.keys import new_key_text, register_key

    account, key = make_account(name="Bench slow", slug="bench-slow"), new_key_text()
    register_key(account=account, name="Bench", scopes=["read", "send"], text=key)
    request = f"GET /v1/emails HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    kinds = (
        slow_headers(),
        slow_body("/v1/send_email", Authorization=f"Bearer {key}", Content_Type="application/json"),
        slow_body("/v1/account/challenge", Content_Type="application/json"),
        slow_reader(large_file()),
    )
    with web_process("gateway") as port:
        return compared(port, request, kinds * each)


def large_file() -> str:
    """Return the address of a file that no socket holds whole."""
    from django.contrib.staticfiles.storage import staticfiles_storage

    return staticfiles_storage.url("ninja/swagger-ui-bundle.js")


def compared(port: int, request: bytes, clients: tuple[bytes, ...]) -> tuple[float, float, float]:
    """Return medians in milliseconds, with these slow clients and without, and the median of the ratios of all runs."""
    seconds_of(port, request, times=5, expect=b"200")
    sides = []
    for _ in range(RUNS):
        quiet = statistics.median(seconds_of(port, request, times=TIMES, expect=b"200"))
        with slow_connections(port, clients) as opened, dripping(opened):
            # The answers that nobody reads are made once.
            seconds_of(port, request, times=5, expect=b"200")
            slow = statistics.median(seconds_of(port, request, times=TIMES, expect=b"200"))
        sides.append((slow * 1000, quiet * 1000))
    slow, quiet = (statistics.median(side) for side in zip(*sides, strict=True))
    return slow, quiet, statistics.median(one / other for one, other in sides)
