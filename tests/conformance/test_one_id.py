"""One id follows a message through the logs of all processes, from the call of the API
to the mail server.
"""

import json
import uuid

import pytest

from tests.variants import variants

TRACEPARENT = "00-{}-00f067aa0ba902b7-01"
# What each process's log has to tell about the message, under its id.
STEPS = {
    "gateway": {"request"},
    "web": {"webhook stored"},
    "worker-desk": {"content fetched", "decision carried out"},
    "worker-out": {"webhook delivered", "email.sent"},
}


def logged(product, name, trace):
    """Return the lines with this id in the log of a process."""
    lines = product.stack.log(name).splitlines()
    parsed = [json.loads(line) for line in lines if line[:1] + line[-1:] == "{}"]
    return [line for line in parsed if line.get("trace") == trace]


def has_every_step(product, trace):
    return all(
        steps <= {line["text"] for line in logged(product, name, trace)}
        for name, steps in STEPS.items()
    )


def approve_one(product, ana, **headers):
    """Have a message sent by a call with these headers. Return the call's answer."""
    answer = product.call(
        "POST",
        "/v1/send_email",
        json={
            "from": product.known["MAILBOX_ADDRESS"],
            "to": "dana@northwind.example",
            "subject": f"One id {uuid.uuid4().hex}",
            "body": "Your refund is on its way.",
        },
        headers=headers,
    )
    email_id = answer.json()["message_id"]
    [listed] = product.call(
        "GET",
        "/v1/oversight/pending",
        key="OVERSIGHT_KEY",
        params={"email_id": email_id},
    ).json()["pending"]
    assert listed["request_id"] == answer.headers["X-Request-Id"]
    ana.approve(product.held(ana, email_id))
    return answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "given", variants(["X-Request-Id", "traceparent", "nothing"], 1)
)
def test_logs_of_all_processes_have_the_id_of_the_call(product, ana, given):
    own = uuid.uuid4().hex
    headers = {"X-Request-Id": own, "traceparent": TRACEPARENT.format(own)}
    answer = approve_one(
        product, ana, **{name: headers[name] for name in headers if name == given}
    )
    trace = answer.headers["X-Request-Id"]
    assert given == "nothing" or trace == own
    product.wait_for(
        lambda: has_every_step(product, trace),
        60,
        f"the id {trace} in all logs: {STEPS}",
    )
    # The agent's call, and the desk's.
    routes = {line.get("route") for line in logged(product, "gateway", trace)}
    assert {"v1/send_email", "v1/oversight/decide"} <= routes
