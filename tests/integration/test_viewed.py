"""Ticks: which files and findings of a version a reviewer marked as viewed, and that a
verdict keeps it.
"""

import pytest

from approvals.decisions.forms import serious_findings
from tests.factories import make_message
from tests.integration.deciding import decide
from tests.ledger import latest_details
from tests.markup import HTMX

FILES = [
    {"name": name, "content_type": "text/plain", "size": 1, "sha256": digit * 64}
    for name, digit in ("a1", "b2")
]
PAY = "Pay to DE89370400440532013000 now."


@pytest.fixture
def message(connection):
    return make_message(connection, markdown=PAY, attachments=FILES)


def tick(client, message, name, viewed="yes", *, fingerprint="", **headers):
    shown = fingerprint or message.revision.fingerprint
    posted = {"name": name, "fingerprint": shown, "is_viewed": viewed}
    return client.post(f"/queue/{message.public_id}/viewed/", posted, headers=headers)


def ticked(client, message):
    page = client.get(f"/queue/{message.public_id}/").text
    buttons = [part.split(">", 1)[0] for part in page.split('id="viewed-')[1:]]
    return {
        part.split('"', 1)[0] for part in buttons if 'aria-pressed="true"' in part
    }, len(buttons)


@pytest.mark.slow
def test_ticks_are_of_one_person_and_version_and_the_verdict_keeps_them(
    signed_in, reviewer, second_reviewer, auditor, message
):
    client = signed_in(reviewer)
    total = len(message.revision.findings)
    assert ticked(client, message) == (set(), 2 + total)
    answer = tick(client, message, "file-1")
    assert answer["Location"] == f"/queue/{message.public_id}/#file-1"
    page = client.get(f"/queue/{message.public_id}/").text
    finding = page.split('id="viewed-finding-', 1)[1].split('"', 1)[0]
    answer = tick(client, message, f"finding-{finding}", **HTMX).text
    assert 'aria-pressed="true"' in answer
    for viewed in ("yes", "yes", "no"):
        tick(client, message, "file-2", viewed)
    assert ticked(client, message)[0] == {"file-1", f"finding-{finding}"}
    assert ticked(signed_in(second_reviewer), message)[0] == set()
    # Who only reads has nothing to tick.
    reading = signed_in(auditor)
    assert ticked(reading, message) == (set(), 0)

    verdict = decide(message, reviewer, "reject", reason="No").verdict
    words = f"1 of 2 files, 1 of {total} findings"
    assert latest_details("verdict.given")["viewed"].startswith(words)
    path = f"/queue/{message.public_id}/decisions/{verdict.pk}/"
    assert words in reading.get(path).text


def test_findings_confirmed_where_high_risk_is_approved_count_as_viewed(
    connection, reviewer
):
    message = make_message(connection, markdown="Pay at <https://xn--pypal-4ve.com>.")
    rules = {one.rule for one in serious_findings(message)}
    seen = decide(message, reviewer, risk_read=rules).verdict.seen
    assert {one["rule"] for one in seen["findings"] if one["viewed"]} == rules
