"""A verdict from the browser: the next message of the same list, the notice over it,
presets, and high risk.
"""

import re
from datetime import timedelta

import pytest

from approvals.decisions.forms import (
    Asked,
    HighRiskForm,
    recipient_question,
    serious_findings,
)
from approvals.decisions.shown import note_opened
from approvals.errors import RiskUnread
from approvals.models import Decision, Review
from approvals.reconcile.reads import read_everything
from audit.models import Entry
from mirror.models import Mailbox, Revision
from mirror.store import stored_content
from tests.factories import (
    NOW,
    actor_of,
    change_row,
    make_connection,
    make_message,
    pending_row,
    show_row,
)
from tests.integration.deciding import carry_out, decide
from tests.markup import HTMX, words_of

RISKY = "Pay to DE89370400440532013000 now, <https://pay.example>"


@pytest.fixture
def message(connection):
    return make_message(connection, subject="Invoice 2207 for October")


@pytest.fixture
def three(connection):
    # Long enough for a busy machine: the notices say how many seconds are left.
    Mailbox.objects.update(undo_window=timedelta(seconds=59))
    return [
        make_message(connection, subject=f"Letter {number}") for number in (1, 2, 3)
    ]


def post(client, message, path="verdict", query="", headers=None, **fields):
    values = {
        "outcome": "approve",
        "fingerprint": message.revision.fingerprint,
        **fields,
    }
    return client.post(
        f"/queue/{message.public_id}/{path}/{query}", values, headers=headers or {}
    )


def actions(message):
    return list(
        Entry.objects.of_message(message.public_id).values_list("action", flat=True)
    )


def shown(answer):
    """The id of the message that an answer shows, empty where it shows none."""
    found = re.search(r'id="message"[^>]*data-message="([^"]+)"', answer.text)
    return found[1] if found else ""


def notice(answer):
    """The text of the notice over the message."""
    found = re.search(
        r'<div class="just" id="just">(<div.*?</div>)?</div>', answer.text, re.DOTALL
    )
    assert found, "no place for a notice"
    return words_of(found[1] or "")


def make_risky(message, level="high", **fields):
    """Give a message a finding of this level."""
    finding = {
        "rule": "link_text_lies", "level": level, "sentence": "A link lies.", "detail": "", "evidence": [],
        "version": 1, **fields,
    }  # fmt: skip
    Revision.objects.filter(pk=message.revision_id).update(findings=[finding])
    Review.objects.filter(pk=message.pk).update(risk_level=level)
    message.refresh_from_db()
    return message


def test_verdict_answers_with_the_next_message_under_a_notice_and_the_last_with_an_empty_state(
    desk, three
):
    make_risky(three[2], "notice")
    answer = post(desk, three[0], query="?q=Letter&order=riskiest", headers=HTMX)
    page = answer.text
    assert answer.status_code == 200
    assert shown(answer) == str(three[1].public_id), (
        "the riskier one stands before the one decided, not after it"
    )
    assert re.match(r"Approved\. Sends in [1-5]\d s", notice(answer)), notice(answer)
    assert f'action="/queue/{three[0].public_id}/undo/' in page

    # A preset is combined with the typed reason.
    change_row(three[1], state="gone")
    answer = post(
        desk,
        three[2],
        outcome="send_back",
        preset="shorter",
        reason="To Dana, too.",
        headers=HTMX,
    )
    assert shown(answer) == ""
    assert re.match(r"Changes requested\. Takes effect in [1-5]\d s", notice(answer)), (
        notice(answer)
    )
    assert (
        Decision.objects.latest("pk").reason == "Make it half as long.\nTo Dana, too."
    )
    assert "No messages waiting" in answer.text


def test_reject_without_a_reason_is_422_and_keeps_form_and_choice(desk, message):
    answer = post(desk, message, outcome="reject", reason=" ")
    page = answer.text
    assert answer.status_code == 422
    assert re.search(r'id="reject"[^>]* open', page)
    assert "Give a reason" in page
    assert Decision.objects.count() == 0


FILE = {
    "filename": "terms.pdf",
    "content_type": "application/pdf",
    "size": 7,
    "sha256": "a" * 64,
}
CHANGES = {
    "to_addresses": ["eve@evil.example"],
    "bcc": ["mallory@evil.example"],
    "reply_to": "oscar@evil.example",
    "additions": {"footer": "Pay at evil.example"},
    "attachments": [{**FILE, "sha256": "a" * 63 + "b"}],
}


def test_what_changes_upstream_after_approval_is_refused_and_shown(
    signed_in, reviewer, upstream
):
    connection = make_connection(api_url=upstream.url)
    upstream.decides(200, status="approved_and_sent", decision="approved")
    message = make_message(connection, attachments=[FILE])
    upstream.holds(pending_row(message.upstream_id, **CHANGES))
    assert carry_out(message, reviewer) == "refused"
    assert upstream.decisions == []

    read = message.revision.fingerprint
    read_everything(connection_id=connection.pk, now=NOW)
    page = signed_in(reviewer).get(f"/queue/{message.public_id}/?since={read}").text
    changed = page.partition('id="changed"')[2].partition('<div class="head">')[0]
    for expected in (
        "eve@evil",
        "mallory@evil",
        "oscar@evil",
        "Pay at evil.example",
        "terms.pdf",
    ):
        assert expected in changed


def test_high_risk_message_is_approved_on_a_page_of_its_own_only(
    desk, connection, reviewer
):
    message = make_message(
        connection,
        to_addresses=[f"person{number}@northwind.example" for number in range(5)],
        additions={"auto_bcc": "copy@yourteam.example"},
    )
    alone = f"/queue/{message.public_id}/approve/"
    make_risky(message)
    careful = desk.get(f"{alone}?order=riskiest").text
    for expected in (
        "How many people get it?",
        "A link lies.",
        "copy@yourteam.example",
        "Approve and send to 6 people",
    ):
        assert expected in careful
    content = stored_content(message.revision)
    asked = recipient_question(content, is_inbound=False, suspicious=())
    assert asked.answers == ("6",)
    assert careful.count('class="address whole"') == 5

    answer = post(desk, message, risk_read="link_text_lies", typed="northwind.example")
    assert answer.status_code == 409
    page = answer.text
    assert "approved on a page of its own" in page
    assert "Approve and send" not in page.partition('id="decide"')[2]
    assert "verdict.refused" in actions(message)
    with pytest.raises(RiskUnread):
        decide(
            message,
            reviewer,
            "approve",
            surface="discord",
            risk_read=("first_contact",),
        )
    assert Decision.objects.count() == 0
    # Rejecting it requires no extra confirmation.
    assert decide(message, reviewer, "reject", "No").decision.outcome == "reject"


READ = {"risk_read": ["link_text_lies"]}
DOMAIN = "northwind.example"


@pytest.mark.slow
def test_high_risk_page_keeps_what_was_typed_until_all_is_there(desk, three):
    make_risky(three[0])
    asked = {
        "findings": serious_findings(three[0]),
        "asked": Asked("To whom?", (DOMAIN,), of=DOMAIN),
    }
    whole = {**READ, "typed": DOMAIN, "fingerprint": three[0].revision.fingerprint}
    late = HighRiskForm(whole, **asked, has_late=True)
    assert set(late.errors) == {"thread_read"}
    for fields, error in (
        ({"typed": DOMAIN}, "Read this and tick it"),
        (READ, "Enter it to confirm the recipients."),
        ({**READ, "typed": "northwlnd.example"}, "Compare it character by character."),
    ):
        answer = post(desk, three[0], path="approve", **fields)
        assert answer.status_code == 422
        assert error in answer.text
    for kept in ('value="northwlnd.example"', 'value="link_text_lies" checked'):
        assert kept in answer.text
    assert Decision.objects.count() == 0
    # What was ticked for another version is not carried on to this one.
    fields = {**READ, "typed": "northwlnd.example", "fingerprint": "0" * 64}
    assert post(desk, three[0], path="approve", **fields).status_code == 409
    # Ticks of an older version decide nothing, also where nothing is to be ticked now.
    assert post(desk, three[1], path="approve", **fields).status_code == 409
    answer = post(desk, three[0], path="approve", **READ, typed=" @Northwind.Example. ")
    assert (
        answer["Location"]
        == f"/queue/{three[1].public_id}/?decided={three[0].public_id}"
    )
    assert Decision.objects.get().outcome == "approve"


@pytest.fixture
def past_verdict(connection, reviewer):
    """A verdict on the first of two versions."""
    message = make_message(connection, markdown=f"First words. {RISKY}")
    note_opened(message, actor=actor_of(reviewer))
    verdict = decide(message, reviewer, "reject", reason="Not like this").verdict
    show_row(message, markdown="Second words")
    message.refresh_from_db()
    return verdict


def address(past_verdict, more=""):
    return f"/queue/{past_verdict.message.public_id}/decisions/{past_verdict.pk}/{more}"


def test_verdict_keeps_what_was_on_screen_and_its_page_shows_it(
    signed_in, past_verdict, auditor
):
    seen = past_verdict.seen
    revision = past_verdict.revision
    assert seen["revision"] == 1
    assert seen["fingerprint"] == revision.fingerprint
    assert {one["sentence"] for one in seen["findings"]} == {
        one["sentence"] for one in revision.findings
    }
    assert seen["ruling"] == ["One approval is needed."]
    assert seen["unread"] == ["the links"]

    client = signed_in(auditor)
    page = client.get(address(past_verdict)).text
    frame = client.get(address(past_verdict, "body/"))
    assert "First words" in page
    assert "Second words" not in page + frame.text
    assert "First words" in frame.text
    for expected in ("Ana Ferreira", "Not like this", "One approval is needed"):
        assert expected in page
    assert "sandbox" in frame["Content-Security-Policy"]
    assert "script-src" not in frame["Content-Security-Policy"]
