"""Each process is killed in turn with a decision under way: it lives again, one mail leaves, and the line works."""

import os
from contextlib import suppress

import pytest

from tests.desk import Product
from tests.faults.answering import everything_answers
from tests.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

PROCESSES = ["web", "gateway", "live", "worker-desk", "worker-out", "demo", "redis", "postgres"]


@pytest.fixture
def product(launched: Stack) -> Product:
    product = Product(launched)
    product.set_undo_window("200 milliseconds")
    return product


@pytest.fixture(scope="module")
def sign_ins():
    return {}


@pytest.fixture
def ana(product, sign_ins):
    """Ana, signed in once at each address: one sign-in for each test would meet the limit on them."""
    url = product.known["DASHBOARD_URL"]
    return sign_ins.get(url) or sign_ins.setdefault(url, product.reviewer())


def test_table_is_what_the_tests_kill(product):
    assert sorted(product.stack.pids()) == sorted(PROCESSES)


@pytest.mark.parametrize("name", PROCESSES)
def test_line_survives_the_death_of(product, ana, name):
    stack = product.stack
    upstream_id, subject = product.send()
    row = product.held(ana, upstream_id)
    family = [pid for pid in stack.processes() if session_of(pid) == stack.pids()[name]]
    assert ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302
    before = stack.kill(name)
    product.wait_for(lambda: stack.pids().get(name, before) != before, timeout=120, what=f"another {name}")
    product.wait_for(lambda: everything_answers(stack), timeout=120, what=f"all to answer after {name} was killed")
    # Its own children would hold its port or go on taking its work.
    assert not [pid for pid in family if pid in stack.processes()]
    assert f"{name} ended" in stack.output.read_text()

    def left():
        with suppress(OSError):
            return product.mails(subject)

    product.wait_for(left, timeout=120, what=f"the mail decided before {name} died")
    assert_line_works(product, ana)
    cards = product.wait_for(
        lambda: product.cards(subject), timeout=120, what=f"the card held up by the death of {name}"
    )
    assert (len(product.mails(subject)), len(cards)) == (1, 1)


def session_of(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def assert_line_works(product, ana):
    upstream_id, subject = product.wait_for(lambda: product.send(), timeout=120, what="the gateway to take a message")
    row = product.held(ana, upstream_id)
    product.wait_for(
        lambda: ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302, timeout=120, what="a decision"
    )
    product.wait_for(lambda: product.mails(subject), timeout=120, what="the next mail")
    cards = product.wait_for(lambda: product.cards(subject), timeout=120, what="the next card")
    assert (len(product.mails(subject)), len(cards)) == (1, 1)
