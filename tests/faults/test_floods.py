"""Floods of one person: the surplus is refused, others are served meanwhile, and
nothing restarts.
"""

import contextlib
import socket
from urllib.parse import urlsplit

import pytest
import requests

from tests.desk import TIMEOUT, Product
from tests.faults.slow_connections import slow_connections
from tests.faults.test_slow_clients import everybody_is_served, live_address
from tests.stack import running_stack

pytestmark = pytest.mark.stack


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


def test_flood_of_one_session_is_refused_and_others_are_served(product, ben):
    # Not the session of other tests: what was asked for is answered after its
    # connections are closed.
    before = product.stack.pids()
    session = product.reviewer()
    with flood(product, session) as opened:
        everybody_is_served(product, ben)
        refused = [
            head for head in map(answered, opened) if head.startswith(b"HTTP/1.1 429 ")
        ]
    assert len(refused) >= 50
    assert b"retry-after: 2" in refused[0].lower()
    assert product.stack.pids() == before


@pytest.mark.slow
def test_web_process_survives_a_flood_of_one_session_that_does_not_end(
    tmp_path_factory,
):
    with running_stack(tmp_path_factory) as stack:
        product = Product(stack)
        before = stack.pids()
        browser = product.reviewer()
        colleague = product.reviewer("REVIEWER2")
        # The launcher ends a process that answers no check for half a minute.
        for _ in range(15):
            with flood(product, browser):
                pages = [colleague.get("/queue/").status_code for _ in range(5)]
            assert pages == [200] * 5
        assert stack.pids() == before


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


def test_more_than_1000_query_parameters_are_400_everywhere(product, ana):
    desk = product.known["DASHBOARD_URL"]
    gateway = product.known["GATEWAY_URL"]
    live = live_address(product)
    key = {"Authorization": f"Bearer {product.known['AGENT_KEY']}"}
    places = [
        f"{desk}{path}"
        for path in ("/queue/", "/", "/nowhere/", "/healthz", "/accounts/login/")
    ]
    places += [
        f"{gateway}{path}"
        for path in ("/v1/emails", "/v1/check_inbox", "/nowhere", "/health")
    ]
    for number in (1000, 1001):
        query = "&".join(f"a{each}=1" for each in range(number))
        for place in (*places, live, f"{live}health"):
            answer = ana.session.get(
                f"{place}?{query}",
                headers=key,
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
            )
            with answer:
                if number == 1000:
                    assert answer.status_code in (200, 302, 404, 422), place
                else:
                    sentence = "The address has more than 1,000 query parameters."
                    assert answer.status_code == 400, place
                    assert answer.json()["error"] == sentence, place
