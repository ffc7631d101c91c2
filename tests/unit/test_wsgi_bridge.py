"""What stands between slow clients and the few threads: whole bodies in, answers out,
an end for what is too slow.
"""

import asyncio
import json
import threading
from collections import Counter
from dataclasses import replace

import pytest

from dashboard.serving import bridge, usage
from dashboard.serving.bridge import WsgiBridge
from tests.loops import in_own_loop


@pytest.fixture(autouse=True)
def refused_at_once(monkeypatch):
    monkeypatch.setattr(bridge, "REFUSED_SECONDS", 0)


class Rules:
    """Waits for bodies of up to a megabyte; for none at /no, and for large ones only of
    somebody with a cookie.
    """

    SESSION_THREADS = 2
    IS_ONE_BY_ONE = True
    SIGNED_PATHS = ("/signed",)
    HEALTH_PATHS = ("/health",)

    def session_of(self, environ):
        return environ.get("HTTP_COOKIE", "")

    def most_body(self, environ):
        return 0 if environ["PATH_INFO"] == "/no" else 1_000_000

    def most_of_sender(self, environ):
        return 1_000_000 if "HTTP_COOKIE" in environ else 0


def echo(environ, start_response):
    """Tell what the application was given."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [
        json.dumps(
            [environ.get("CONTENT_LENGTH"), body.decode(), environ.get("HTTP_X_A")]
        ).encode()
    ]


def large(environ, start_response):
    start_response("200 OK", [])
    return (b"x" * 100_000 for _ in range(30))


class Client:
    """One request, whose parts come when they come, and what was answered."""

    def __init__(self, *parts, path="/", headers=(), reads=True, address="192.0.2.7"):
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "http_version": "1.1",
            "headers": list(headers),
            "client": (address, 4711),
            "server": ("127.0.0.1", 8000),
        }
        self.parts = list(parts)
        self.reads = reads
        self.status = 0
        self.headers = {}
        self.body = b""
        self.is_whole = False

    async def receive(self):
        if not self.parts:
            await asyncio.Event().wait()
        part = self.parts.pop(0)
        return (
            part
            if isinstance(part, dict)
            else {"type": "http.request", "body": part, "more_body": part != b""}
        )

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
            return
        self.body += message["body"]
        self.is_whole = not message.get("more_body")
        if not self.reads:
            await asyncio.Event().wait()


def length(value):
    return (b"content-length", str(value).encode())


CHUNKED = (b"transfer-encoding", b"chunked")


def ask(*clients, application=echo):
    """Return `clients` when they have been answered."""

    async def run():
        served = WsgiBridge(application, Rules())
        await asyncio.gather(
            *(served(one.scope, one.receive, one.send) for one in clients)
        )
        # Notes of threads that are on their way are taken in.
        await asyncio.sleep(0)
        assert {(one.requests, one.held) for one in served._usages._known.values()} <= {
            (0, 0)
        }

    in_own_loop(run())
    return clients[0] if len(clients) == 1 else clients


def test_application_gets_a_body_whole_with_its_length_however_it_came():
    pieces = (b"one ", b"two ", b"three", b"")
    for header in (length(13), CHUNKED):
        client = ask(Client(*pieces, headers=[header, (b"cookie", b"a=b")]))
        assert json.loads(client.body) == ["13", "one two three", None], header
        assert b"connection" not in client.headers
        assert client.headers[b"content-length"] == b"%d" % len(client.body)


def test_body_that_does_not_come_is_ended(settings, caplog):
    settings.REQUEST_BODY_SECONDS = 0
    client = ask(Client(b"four", headers=[length(5)]))
    assert client.status == 408
    assert client.headers[b"connection"] == b"close"


def test_body_that_would_be_refused_anyway_is_not_waited_for():
    unwanted = Client(path="/no", headers=[length(5)])
    # Of nobody who is known.
    large_body = Client(headers=[length(900_000)])
    chunks = Client(headers=[CHUNKED])
    for client in ask(unwanted, large_body, chunks):
        assert client.status == 200
        assert json.loads(client.body) == [None, "", None]
        assert client.headers[b"connection"] == b"close"


def test_body_over_the_limit_is_413_whether_it_says_so_or_not():
    known = (b"cookie", b"a=b")
    declared = Client(headers=[length(1_000_001), known])
    chunks = Client(*[b"x" * 600_000] * 2, headers=[CHUNKED, known])
    for client in ask(declared, chunks):
        assert client.status == 413


def test_body_that_ends_before_its_length_reaches_no_application():
    client = ask(Client(b"fo", {"type": "http.disconnect"}, headers=[length(5)]))
    assert client.status == 400


def test_answer_that_breaks_off_has_no_end_and_one_that_never_began_is_500(caplog):
    def breaks_off(environ, start_response):
        start_response("200 OK", [])
        yield b"x" * 200_000
        raise RuntimeError("out of rows")

    def never_begins(environ, start_response):
        raise RuntimeError("no settings")

    cut = ask(Client(), application=breaks_off)
    broken = ask(Client(), application=never_begins)
    assert cut.status == 200
    assert cut.is_whole is False
    assert broken.status == 500


def test_header_with_an_underscore_is_not_mistaken_for_one_with_a_dash():
    headers = [(b"x-a", b"1"), (b"x_a", b"2")]
    assert json.loads(ask(Client(headers=headers)).body)[2] == "1"


def with_cookie(value, **options):
    return Client(headers=[(b"cookie", value.encode())], **options)


# The paths of those requests of a flood that had a thread.
flooding = []


def ask_during_flood(flood, others, *, application=None):
    """Return how many of the flood were answered with what, while the rest keep every
    thread that they can have.

    The others must be answered meanwhile.
    """
    is_over = threading.Event()
    flooding.clear()

    def busy(environ, start_response):
        if "flood" in environ.get("HTTP_COOKIE", environ["PATH_INFO"]):
            flooding.append(environ["PATH_INFO"])
            is_over.wait(60)
        start_response("200 OK", [])
        return [b"x" * 100]

    async def run():
        served = WsgiBridge(application or busy, Rules())
        tasks = [
            asyncio.create_task(served(one.scope, one.receive, one.send))
            for one in flood
        ]
        await asyncio.sleep(0)
        await asyncio.gather(
            *(served(one.scope, one.receive, one.send) for one in others)
        )
        answered = Counter(one.status for one in flood if one.status)
        is_over.set()
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return answered

    try:
        return in_own_loop(run(), timeout=30)
    finally:
        is_over.set()


def test_request_of_a_session_passes_one_that_takes_long(monkeypatch):
    # Such as an export, beside which its page asks how far it is.
    monkeypatch.setattr(usage, "_TURN", replace(usage._TURN, seconds=0.1))
    pages = [with_cookie("flood"), with_cookie("flood", path="/other")]
    is_over = threading.Event()

    def export(environ, start_response):
        if environ["PATH_INFO"] == "/":
            assert is_over.wait(60)
        is_over.set()
        return echo(environ, start_response)

    assert [one.status for one in ask(*pages, application=export)] == [200, 200]


def test_strangers_of_an_address_use_one_thread_and_are_refused_more():
    elsewhere = Client(address="2001:db8:0:1::1")
    colleague = with_cookie("other", address="2001:db8::ffff")
    flood = [
        Client(path="/flood", address=f"2001:db8::{number:x}") for number in range(400)
    ]
    assert ask_during_flood(flood, [elsewhere, colleague]) == {429: 300}
    assert elsewhere.status == colleague.status == 200
    assert flooding == ["/flood"]


def test_full_process_refuses_with_503_and_answers_health_checks(monkeypatch):
    monkeypatch.setattr(usage, "_PROCESS", replace(usage._PROCESS, requests=3))
    health = Client(path="/health/")
    late = with_cookie("late")
    flood = [
        with_cookie(f"flood{number}", address=f"192.0.2.{number}")
        for number in range(6)
    ]
    assert ask_during_flood(flood, [health, late]) == {503: 3}
    assert health.status == 200
    assert late.status == 503
    assert late.headers[b"retry-after"] == b"2"


def test_session_that_reads_nothing_is_refused_more_answers_and_a_colleague_is_not(
    monkeypatch,
):
    monkeypatch.setattr(
        usage, "_SESSION_SHARE", replace(usage._SESSION_SHARE, held=5_000_000)
    )
    flood = [with_cookie("unread", reads=False) for _ in range(20)]
    again = with_cookie("unread")
    colleague = with_cookie("other")
    answered = ask_during_flood(flood, [again, colleague], application=large)
    assert again.status == 429
    assert colleague.status == 200
    assert len(colleague.body) == 3_000_000
    # Two are held, and of a third nobody knew the size before it was made.
    assert answered[200] <= 3


def test_bodies_that_come_slowly_are_held_for_one_address_up_to_its_share(monkeypatch):
    monkeypatch.setattr(usage, "_STRANGERS", replace(usage._STRANGERS, held=1_000_000))
    part = b"x" * 50_000
    headers = [length(60_000)]
    flood = [Client(part, headers=headers) for _ in range(30)]
    colleague = Client(b"whole", b"", headers=[length(5), (b"cookie", b"other")])
    assert ask_during_flood(flood, [colleague], application=echo) == {429: 10}
    assert colleague.status == 200
