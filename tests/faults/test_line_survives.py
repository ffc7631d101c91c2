"""Each process is killed in turn with a decision under way: one mail leaves, and the line works again."""

from contextlib import suppress

import pytest

from tests.desk import Product
from tests.stack import running_stack

pytestmark = pytest.mark.xdist_group("line-faults")

PROCESSES = ["web", "gateway", "live", "worker-desk", "worker-out", "demo", "redis", "postgres"]


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    with running_stack(tmp_path_factory) as stack:
        product = Product(stack)
        product.set_undo_window("200 milliseconds")
        yield product


@pytest.fixture(scope="module")
def ana(product):
    return product.reviewer()


@pytest.mark.parametrize("name", PROCESSES)
def test_line_survives_the_death_of(product, ana, name):
    upstream_id, subject = product.send()
    row = product.held(ana, upstream_id)
    assert ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302
    before = product.stack.kill(name)
    product.wait_for(lambda: product.stack.pids().get(name, before) != before, timeout=20, what=f"another {name}")

    def left():
        with suppress(OSError):
            return product.mails(subject)

    product.wait_for(left, timeout=70, what=f"the mail decided before {name} died")
    assert_line_works(product, ana)
    cards = product.wait_for(
        lambda: product.cards(subject), timeout=70, what=f"the card held up by the death of {name}"
    )
    assert (len(product.mails(subject)), len(cards)) == (1, 1)


def assert_line_works(product, ana):
    upstream_id, subject = product.wait_for(lambda: product.send(), timeout=20, what="the gateway to take a message")
    row = product.held(ana, upstream_id)
    product.wait_for(
        lambda: ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302, timeout=20, what="a decision"
    )
    product.wait_for(lambda: product.mails(subject), timeout=70, what="the next mail")
    cards = product.wait_for(lambda: product.cards(subject), timeout=70, what="the next card")
    assert (len(product.mails(subject)), len(cards)) == (1, 1)
