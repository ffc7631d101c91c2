"""Each process is killed in turn with a decision under way: it lives again, one mail
leaves, and the line works.
"""

import os
from contextlib import suppress
from functools import partial

import pytest

from tests.desk import Product
from tests.faults.answering import everything_answers

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

PROCESSES = [
    "web",
    "gateway",
    "live",
    "parser",
    "worker-desk",
    "worker-out",
    "demo",
    "redis",
    "postgres",
]


@pytest.fixture
def product(launched):
    product = Product(launched)
    product.set_undo_window("200 milliseconds")
    return product


def test_line_survives_the_death_of_each_process(product):
    """What is decided before the next death shows that the line works after the last
    one.
    """
    stack = product.stack
    ana = product.reviewer()
    assert sorted(stack.pids()) == sorted(PROCESSES)
    decided = []
    for name in PROCESSES:
        decided.append(decide_one(product, ana, f"before {name} dies"))
        family = [
            pid for pid in stack.processes() if session_of(pid) == stack.pids()[name]
        ]
        before = stack.kill(name)
        product.wait_for(
            partial(is_another, stack, name, before),
            timeout=120,
            what=f"another {name}",
        )
        product.wait_for(
            lambda: everything_answers(stack),
            timeout=120,
            what=f"all to answer after {name} was killed",
        )
        # Its children would otherwise hold its port or continue its work.
        assert not [pid for pid in family if pid in stack.processes()]
        assert f"{name} ended" in stack.output.read_text()
        wait_for_its_mail_and_card(product, decided[-1], f"decided before {name} died")
    decided.append(decide_one(product, ana, "after all deaths"))
    wait_for_its_mail_and_card(product, decided[-1], "decided after all deaths")
    assert {
        subject: len(product.mails(subject)) for subject in decided
    } == dict.fromkeys(decided, 1)
    # A post whose worker dies before Discord's answer may appear twice.
    cards = {subject: len(product.cards(subject)) for subject in decided}
    assert all(0 < number <= 2 for number in cards.values()), cards


def is_another(stack, name, before):
    return stack.pids().get(name, before) != before


def session_of(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def decide_one(product, ana, when):
    """Send a message and approve it, and return its subject."""
    upstream_id, subject = product.wait_for(
        product.send, timeout=120, what=f"the gateway to take a message {when}"
    )
    row = product.held(ana, upstream_id)

    def approved():
        return ana.decide(row["id"], "approve", row["fingerprint"]).status_code == 302

    product.wait_for(approved, timeout=120, what=f"a decision {when}")
    return subject


def wait_for_its_mail_and_card(product, subject, which):
    def left():
        with suppress(OSError):
            return product.mails(subject)

    product.wait_for(left, timeout=120, what=f"the mail {which}")
    product.wait_for(
        lambda: product.cards(subject), timeout=120, what=f"the card {which}"
    )
