"""Mail of a sandbox key is never said to be sent or delivered: not on the desk, not on
cards, not in the channel where it began, and not in the ledger.
"""

import json

import pytest

from alerts.models import Destination
from approvals.desk_messages import desk_messages
from approvals.intake import ingest
from audit.models import Entry
from tests.cards import embed_of
from tests.factories import confirm_reports, event_body, make_message
from tests.integration.deciding import decided
from tests.ledger import erase_here, seal_here
from tests.markup import words_of
from tests.variants import variants

pytestmark = pytest.mark.usefixtures("plans_at_once")

TESTED = "Test: recorded, not sent"


def hear(connection, message, name):
    body = event_body(name, email_id=message.upstream_id, sandbox=True, status="")
    ingest.receive_webhook(connection=connection, body=body, secret_used="current")
    confirm_reports()


@pytest.mark.parametrize("is_decided_here", variants([True, False], 1))
def test_test_mail_is_recorded_and_not_sent_wherever_one_looks(
    connection, signed_in, reviewer, auditor, is_decided_here
):
    message = make_message(connection, sandbox=True, subject="Only a test")
    if is_decided_here:
        decided(message, reviewer, state="applied")
    destination = Destination.objects.create(name="#approvals", kind="discord_bot")
    for name in ("oversight.approved", "message.sent", "message.delivered"):
        hear(connection, message, name)
        shown = desk_messages().for_page().get(pk=message.pk)
        card = json.dumps(embed_of(shown, destination), ensure_ascii=False)
        desk = signed_in(reviewer)
        pages = [
            words_of(desk.get(f"/queue/{message.public_id}/")),
            words_of(desk.get("/history/")),
        ]
        for page in (card, *pages):
            assert TESTED in page, name
            assert "elivered" not in page, name
            assert "mail server" not in page, name

    trail = signed_in(auditor).get(f"/audit/trace/{message.public_id}/")
    words = words_of(trail)
    assert f"reported “{TESTED}”" in words
    assert "delivered" not in words
    assert "sent the message" not in words


def test_its_entry_has_a_code_that_stays_when_the_details_are_erased(connection):
    message = make_message(connection, sandbox=True)
    hear(connection, message, "message.delivered")
    seal_here()
    erase_here(message.public_id)
    entry = Entry.objects.get(action="message.delivered")
    assert (entry.outcome, entry.sentence) == ("test", f"reported “{TESTED}”")
