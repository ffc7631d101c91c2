"""Slow clients: others are answered meanwhile, nothing restarts, and the slow ones are
disconnected.
"""

import contextlib
import json
from urllib.parse import urlsplit

import pytest
import requests

from tests.desk import TIMEOUT, Product
from tests.faults.slow_connections import (
    dripping,
    slow_body,
    slow_connections,
    slow_headers,
    slow_reader,
)
from tests.stack import running_stack
from upstream.signatures import HEADER

pytestmark = pytest.mark.stack

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
    """Open so many connections of each kind; gives those that wait for us, and those
    that we do not read.
    """
    with contextlib.ExitStack() as stack:
        waiting = []
        unread = []
        for port, kinds in slow_on_each_port(product).items():
            for kind in kinds:
                opened = stack.enter_context(slow_connections(port, [kind] * each))
                (
                    unread
                    if kind.startswith(b"GET /") and kind.endswith(b"\r\n\r\n")
                    else waiting
                ).extend(opened)
        yield waiting, unread


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


@pytest.mark.slow
def test_two_hundred_slow_clients_of_each_kind_are_ended_and_nothing_is_restarted(
    tmp_path_factory,
):
    with running_stack(tmp_path_factory, REQUEST_BODY_SECONDS="5") as stack:
        product = Product(stack)
        before = stack.pids()
        browser = product.reviewer()
        with all_slow(product, each=200) as (waiting, unread):
            # A byte now and then keeps none of them open.
            with dripping(waiting):
                everybody_is_served(product, browser)
                stack.wait_for(
                    lambda: all(map(is_ended, waiting)),
                    timeout=180,
                    what="the end of slow requests",
                )
            stack.wait_for(
                lambda: all(map(is_cut_off, unread)),
                timeout=180,
                what="the end of unread answers",
            )
        everybody_is_served(product, browser)
        assert stack.pids() == before


def is_ended(connection):
    """Whether the server has closed it, once what it answered is read."""
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_cut_off(connection):
    """Return whether the server has closed it, without reading: one more byte is then
    answered with a reset.
    """
    try:
        connection.send(b"a")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False
