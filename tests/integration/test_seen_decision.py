"""A past decision as it was seen: its message, findings and ruling, whatever changed
since.
"""

import re

import pytest

from approvals.decisions.shown import note_opened
from approvals.risk_rules.weighing import weigh
from audit.models import Entry
from tests.factories import actor_of, change_row, make_message, show_row
from tests.integration.deciding import decide

RISKY = "Pay to DE89370400440532013000 now, <https://pay.example>"


@pytest.fixture
def verdict(connection, reviewer):
    """A verdict on the first of two versions."""
    message = make_message(connection, markdown=f"First words. {RISKY}")
    note_opened(message, actor=actor_of(reviewer))
    verdict = decide(message, reviewer, "reject", reason="Not like this").verdict
    show_row(message, markdown="Second words")
    message.refresh_from_db()
    return verdict


def address(verdict, more=""):
    return f"/queue/{verdict.message.public_id}/decisions/{verdict.pk}/{more}"


def test_verdict_keeps_what_was_on_screen_and_its_page_shows_it(
    signed_in, verdict, auditor, admin
):
    seen = verdict.seen
    revision = verdict.revision
    assert seen["revision"] == 1
    assert seen["fingerprint"] == revision.fingerprint
    assert {one["sentence"] for one in seen["findings"]} == {
        one["sentence"] for one in revision.findings
    }
    assert seen["ruling"] == ["One approval is needed, and you may give it."]
    assert seen["unread"] == ["the links"]

    one = seen["findings"][0]
    weigh(rule=one["rule"], points=one["points"] + 1, actor=actor_of(admin))
    client = signed_in(auditor)
    page = client.get(address(verdict)).text
    frame = client.get(address(verdict, "body/"))
    assert re.search(r"<h1[^>]*>As it was seen on <time", page)
    assert "This is not the current version." in page
    assert "First words" in page
    assert "Second words" not in page + frame.text
    assert "First words" in frame.text
    for expected in (
        "Ana Ferreira",
        "Not like this",
        "One approval is needed",
        "the links",
        one["rule"].replace("_", " "),
    ):
        assert expected in page
    assert f"{one['points']} point" in page
    assert f"{one['points'] + 1} point" not in page
    assert 'sandbox title="The message in that version' in page
    assert "sandbox" in frame["Content-Security-Policy"]
    assert "script-src" not in frame["Content-Security-Policy"]


def test_looking_is_noted_and_fetching_ahead_is_not(
    signed_in, verdict, auditor, connection
):
    change_row(verdict, seen={}, parts_unread=None)
    noted = Entry.objects.of_action("ledger.seen_again")
    client = signed_in(auditor)
    client.head(address(verdict))
    client.get(address(verdict), headers={"Sec-Purpose": "prefetch"})
    assert noted.count() == 0
    page = client.get(address(verdict)).text
    assert noted.count() == 1
    assert page.count("Not recorded for this verdict") == 2
    assert "Not recorded" in page
    client.get(address(verdict, "body/"))
    served = Entry.objects.of_action("message.served")
    assert (
        served.get(actor_id=str(auditor.pk)).fingerprint == verdict.revision.fingerprint
    )
    # A verdict of another message is not shown.
    other = make_message(connection)
    assert (
        client.get(f"/queue/{other.public_id}/decisions/{verdict.pk}/body/").status_code
        == 404
    )
