"""Slow clients, and floods of one person: others are answered meanwhile, the surplus is
refused, and nothing restarts. That slow ones are disconnected is told by
tests/unit/test_wsgi_bridge.py.
"""

import ast
import contextlib
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.desk import TIMEOUT
from tests.faults.slow_connections import (
    slow_body,
    slow_connections,
    slow_headers,
    slow_reader,
)
from upstream.signatures import HEADER

pytestmark = pytest.mark.stack
REQUESTS = Path(__file__).parents[1] / "fixtures" / "http_requests.txt"

BY_DISCORD = {"X_Signature_Ed25519": "00" * 64, "X_Signature_Timestamp": "1"}


def slow_on_each_port(product):
    """What is sent to each port, and never ended or read."""
    known = product.known
    webhook = urlsplit(known["WEBHOOK_URL"]).path
    key = f"Bearer {known['AGENT_KEY']}"
    page = slow_reader(f"/static/{large_file(product)}")
    bodies = [
        slow_body("/csp-report/"),
        slow_body("/discord/interactions/", **BY_DISCORD),
        slow_body(webhook, **{HEADER: "sha256=00"}, Content_Type="application/json"),
        slow_body("/accounts/login/"),
    ]
    calls = [
        slow_body("/v1/send_email", Authorization=key),
        slow_body("/v1/account/challenge"),
    ]
    return {
        urlsplit(known["DASHBOARD_URL"]).port: [slow_headers(), page, *bodies],
        urlsplit(known["GATEWAY_URL"]).port: [slow_headers(), page, *calls],
        urlsplit(live_address(product)).port: [slow_headers()],
    }


def large_file(product):
    """A file that no socket holds whole."""
    manifest = product.stack.data / "static" / "staticfiles.json"
    return json.loads(manifest.read_text())["paths"]["ninja/swagger-ui-bundle.js"]


def live_address(product):
    """Where the desk sends its pages for the live stream."""
    address = f"{product.known['DASHBOARD_URL']}/live/"
    return requests.get(address, timeout=TIMEOUT, allow_redirects=False).headers[
        "Location"
    ]


@contextlib.contextmanager
def all_slow(product, each):
    """Open so many connections of each kind."""
    with contextlib.ExitStack() as stack:
        for port, kinds in slow_on_each_port(product).items():
            stack.enter_context(slow_connections(port, kinds * each))
        yield


def everybody_is_served(product, browser):
    """A reviewer's page, an agent's message, MultiMail's webhook, and the stream of an
    open page.
    """
    row = product.hold(browser)
    assert browser.get(f"/queue/{row['id']}/").status_code == 200
    assert product.post_webhook(b'{"event": "something.new"}').status_code == 200
    assert (
        requests.get(
            f"{product.known['DASHBOARD_URL']}/readyz", timeout=TIMEOUT
        ).status_code
        == 200
    )
    with browser.session.get(
        live_address(product), stream=True, timeout=TIMEOUT
    ) as stream:
        assert b"beat" in next(stream.iter_content(100))


def test_slow_clients_on_every_port_hold_up_nobody(product, ana):
    before = product.stack.pids()
    with all_slow(product, each=20):
        everybody_is_served(product, ana)
    assert product.stack.pids() == before


def request_of(browser, path):
    cookies = "; ".join(f"{one.name}={one.value}" for one in browser.session.cookies)
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\n\r\n".encode()
    )


@contextlib.contextmanager
def flood(product, browser):
    """Ask for four pages at once on each of 200 connections of one session, and read
    none of them.
    """
    port = urlsplit(product.known["DASHBOARD_URL"]).port
    with slow_connections(port, [request_of(browser, "/queue/") * 4] * 200) as opened:
        yield opened


def answered(connection):
    """What can be read of the first answer, without waiting."""
    try:
        return connection.recv(4096)
    except BlockingIOError:
        return b""


@pytest.mark.slow
def test_flood_of_one_session_is_refused_and_others_are_served(product, ben):
    # Not the session of other tests: what was asked for is answered after its
    # connections are closed.
    before = product.stack.pids()
    session = product.reviewer()
    with flood(product, session) as opened:
        everybody_is_served(product, ben)
        refused: list[bytes] = []

        def are_refused():
            heads = map(answered, opened)
            refused.extend(one for one in heads if one.startswith(b"HTTP/1.1 429 "))
            return len(refused) >= 50

        # A client beyond its limit is let wait before it is refused.
        product.wait_for(are_refused, TIMEOUT, "refusals")
    assert b"retry-after: 2" in refused[0].lower()
    assert product.stack.pids() == before


@pytest.mark.slow
def test_600_streams_of_one_session_are_a_handful_and_its_page_gets_one(product, ben):
    live = urlsplit(live_address(product))
    session = product.reviewer()
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection((live.hostname, live.port)))
            for _ in range(600)
        ]
        for one in opened:
            one.sendall(request_of(session, "/live/"))
        for person in (ben, session):
            # The page polls for as long as it is refused.
            product.wait_for(
                lambda person=person: has_stream(product, person), TIMEOUT, "a stream"
            )
        heads = [one.recv(4096) for one in opened]
        assert (
            sum(
                head.startswith(b"HTTP/1.1 429 ") and b"retry-after: 5" in head
                for head in heads
            )
            > 300
        )
        # Six of hers at most, Ben's and those of other tests' pages.
        pages = requests.get(
            f"http://{live.netloc}/live/health", timeout=TIMEOUT
        ).json()["pages"]
        assert pages <= 12


def has_stream(product, person):
    with person.session.get(
        live_address(product), stream=True, timeout=TIMEOUT
    ) as stream:
        return stream.status_code == 200 and b"beat" in next(stream.iter_content(100))


@pytest.mark.slow
def test_more_than_1000_query_parameters_are_400_everywhere(product, ana):
    desk = product.known["DASHBOARD_URL"]
    gateway = product.known["GATEWAY_URL"]
    live = live_address(product)
    key = {"Authorization": f"Bearer {product.known['AGENT_KEY']}"}
    for number in (1000, 1001):
        query = "&".join(f"a{each}=1" for each in range(number))
        for place in (
            f"{desk}/queue/",
            f"{desk}/healthz",
            f"{gateway}/v1/emails",
            live,
        ):
            answer = ana.session.get(
                f"{place}?{query}",
                headers=key,
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
            )
            with answer:
                assert (answer.status_code == 400) == (number > 1000), place


@pytest.mark.slow
def test_request_that_two_servers_could_read_differently_is_400_on_every_port(product):
    head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    cases = [("400 many", head + b"X: a\r\n" * 100 + b"\r\n")]
    cases.append(("400 long", head + b"X: " + b"a" * 70_000))
    for line in REQUESTS.read_text().splitlines()[2:]:
        name, _, request = line.partition(": ")
        cases.append((name, ast.literal_eval(f'b"{request}"')))
    for port in slow_on_each_port(product):
        unfinished = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        unfinished.sendall(head)
        for name, request in cases:
            with socket.create_connection(("127.0.0.1", port), TIMEOUT) as one:
                one.sendall(request)
                is_refused = one.recv(12).endswith(b"400")
            assert is_refused == name.startswith("400"), name
        with unfinished:
            assert not unfinished.recv(1)
