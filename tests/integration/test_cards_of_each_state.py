"""The content of cards, notices and digests, at each level of privacy."""

import json

import pytest

from alerts.cards.notice import newest_entry
from alerts.models import Destination
from approvals.desk_messages import desk_messages
from audit.recording import record
from common.actors import worker
from tests.cards import embed_of, notice_body, notice_word
from tests.discord_limits import find_errors
from tests.factories import change_row, make_message

pytestmark = pytest.mark.usefixtures("plans_at_once")

METADATA = {
    "discord_user": "@everyone eve@hidden.example",
    "discord_channel": "outreach",
}


@pytest.fixture
def destination():
    return Destination.objects.create(
        name="#approvals", url="https://discord.com/api/webhooks/1/t"
    )


def reload_message(message):
    return desk_messages().for_page().get(pk=message.pk)


def card_of(message, destination, **fields):
    if fields:
        change_row(message, **fields)
    return embed_of(reload_message(message), destination)


def card_fields(card):
    return {one["name"]: one["value"] for one in card["fields"]}


def test_refusal_at_the_gate_has_its_own_notice(connection, destination):
    dana = "dana@acme.example"
    details = {"recipients": dana, "refused": dana, "rule": "off-list"}
    action = "message.refused_at_gate"
    entry = record(
        action, actor=worker("test"), connection=connection.pk, details=details
    )
    about = f"refusal/{entry.pk}"
    body = notice_body(about, newest_entry(about, None), destination)
    assert notice_word(about, newest_entry(about, None)) == "Blocked recipient"
    assert card_fields(body["embeds"][0])["Refused"] == r"dana\@acme.example"
    assert find_errors(body) == {}
    destination.privacy = "minimal"
    assert "dana" not in json.dumps(
        notice_body(about, newest_entry(about, None), destination)
    )


def test_card_says_why_a_message_came_back_but_not_at_the_minimal_level(
    connection, destination
):
    message = make_message(connection, subject="Refund", metadata=METADATA)
    why = "mailbox full at dana@northwind.example"
    change_row(message, state="bounced", mail_error=why)
    fields = card_fields(card_of(message, destination))
    assert fields["Reason"] == "mailbox full at dana\\@northwind.example"
    destination.privacy = "minimal"
    assert "Reason" not in card_fields(card_of(message, destination))


def test_held_card_names_everybody_who_gets_it_and_every_file(connection, destination):
    copies = [f"c{number}@fabrikam.example" for number in range(7)]
    file = {"content_type": "application/pdf", "size": 4}
    additions = {"auto_bcc": "archive@yourteam.example"}
    message = make_message(
        connection,
        cc=copies,
        bcc=["b@fabrikam.example"],
        attachments=[file | {"name": f"file {number}.pdf"} for number in range(7)],
        additions=additions,
    )
    fields = card_fields(card_of(message, destination))
    assert fields["Cc"].endswith(" and 2 more")
    assert fields["Bcc"] == "b\\@fabrikam.example, archive\\@yourteam.example"
    assert fields["Files"].endswith("file 4.pdf and 2 more")
    destination.privacy = "minimal"
    card = card_of(message, destination)
    assert card_fields(card)["Files"] == "7"
    assert "c0" not in card_fields(card)["Cc"]
