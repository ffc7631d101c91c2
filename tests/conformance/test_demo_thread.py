"""The demo's customer asks, its agent answers, and the customer writes again before
anybody approves the answer.
"""

import uuid
from pathlib import Path

import pytest

from demo.agent import read_account, send, write_as_customer
from demo.messages import MESSAGES

MESSAGE = next(message for message in MESSAGES if message.question)


@pytest.mark.slow
def test_answer_of_the_demo_stands_in_a_thread_that_moves_on(product, ana):
    account = read_account(Path(product.stack.data) / "credentials.env", "")
    run = uuid.uuid4().hex[:8]
    reply = send(account, MESSAGE, 0, run)
    assert reply.status_code == 202, reply.text
    row = product.held(ana, reply.json()["id"])
    assert row["subject"] == "Re: two broken mugs"
    assert write_as_customer(account, MESSAGE, 0, run, is_second=True)
    page = f"/queue/{row['id']}/"
    late = "rather have the EUR 36.00 back."
    product.wait_for(
        lambda: late in ana.get(f"{page}thread/").text,
        timeout=60,
        what="the second thought",
    )
    shown = ana.get(f"{page}thread/").text
    assert "Two of the six mugs" in shown
    assert shown.count("Came after this draft") == 1
    refused = ana.decide(row["id"], "approve", row["fingerprint"])
    assert refused.status_code == 409
    # The same messages again, as after a restart: nothing is repeated.
    assert send(account, MESSAGE, 0, run).json()["id"] == reply.json()["id"]
