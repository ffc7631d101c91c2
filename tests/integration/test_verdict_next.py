"""A verdict from the browser: the next message of the same list, the notice over it,
presets, and high risk.
"""

import re
from datetime import timedelta

import pytest
from django.test import Client

from approvals.decisions.decide import give_verdict
from approvals.decisions.forms import Asked, HighRiskForm, VerdictForm, serious_findings
from approvals.errors import RiskUnread
from approvals.models import Decision, Review
from approvals.reconcile.reads import read_everything
from audit.models import Entry
from mirror.models import Mailbox, Message, Revision
from tests.factories import NOW, make_connection, make_message, pending_row, rolled_back
from tests.integration.deciding import carry_out
from tests.markup import HTMX, words_of


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


def verdict(message, person, outcome, reason="", surface="web", **fields):
    return give_verdict(
        message=message.public_id, actor=person.actor(surface=surface), outcome=outcome,
        fingerprint=message.revision.fingerprint, reason=reason, **fields,
    )  # fmt: skip


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
    """Give a finding the largest possible weight."""
    finding = {
        "rule": "link_text_lies", "level": level, "sentence": "A link lies.", "detail": "", "evidence": [],
        "version": 1, "points": 60, **fields,
    }  # fmt: skip
    Revision.objects.filter(pk=message.revision_id).update(findings=[finding])
    Review.objects.filter(pk=message.pk).update(risk=60, risk_level=level)
    message.refresh_from_db()
    return message


def test_verdict_answers_with_the_next_message_under_a_notice_and_the_last_with_an_empty_state(
    desk, three
):
    make_risky(three[2], "notice", points=20)
    answer = post(desk, three[0], query="?q=Letter&order=riskiest", headers=HTMX)
    page = answer.text
    assert answer.status_code == 200
    assert shown(answer) == str(three[1].public_id), (
        "the riskier one stands before the one decided, not after it"
    )
    assert (
        f'data-next="/queue/{three[2].public_id}/?q=Letter&amp;order=riskiest"' in page
    )
    assert re.match(r"Approved\. Sends in [1-5]\d s", notice(answer)), notice(answer)
    assert f'action="/queue/{three[0].public_id}/undo/' in page

    # A preset is combined with the typed reason.
    Message.objects.filter(pk=three[1].pk).update(state="gone")
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


def test_notice_shows_the_later_status_to_who_decided_and_undoes(
    desk, message, second_reviewer
):
    post(desk, message)
    path = f"/queue/{message.public_id}/decided/"
    Decision.objects.update(state="refused", explanation="The content had changed.")
    assert notice(desk.get(path, headers=HTMX)).startswith(
        "Held again. The content had changed."
    )
    Decision.objects.update(state="undone")
    assert "Held again" not in desk.get(path, headers=HTMX).text
    Decision.objects.update(state="recorded")
    assert desk.get(path)["Location"] == f"/queue/{message.public_id}/"
    ben = Client()
    ben.force_login(second_reviewer, backend="people.sign_in.backend.PersonBackend")
    assert "Approved" not in ben.get(path, headers=HTMX).text

    answer = desk.post(f"/queue/{message.public_id}/undo/?order=soonest", headers=HTMX)
    assert shown(answer) == str(message.public_id)
    assert Decision.objects.get().state == "undone"
    assert "The message is held again; nothing was sent." in answer.text


def test_reject_without_a_reason_is_422_and_keeps_form_and_choice(desk, message):
    for preset, error in (
        ("", "Give a reason"),
        ("no_such", "The usual reasons"),
        ("shorter", "The usual reasons"),
    ):
        values = {
            "outcome": "reject",
            "fingerprint": message.revision.fingerprint,
            "preset": preset,
            "reason": " ",
        }
        assert VerdictForm(values).first_error().startswith(error), preset
    answer = post(desk, message, outcome="reject", reason=" ")
    page = answer.text
    assert answer.status_code == 422
    assert re.search(r'id="reject"[^>]* open', page)
    assert re.search(
        r'id="reject-reason"[^>]* aria-describedby="reject-note" aria-invalid="true"',
        page,
    )
    assert re.search(
        r'id="reject-note"[^>]*>.*?<span class="whole">Give a reason', page
    )
    assert Decision.objects.count() == 0


FILE = {
    "filename": "terms.pdf",
    "content_type": "application/pdf",
    "size": 7,
    "sha256": "a" * 64,
}
CHANGES = [
    {"to_addresses": ["eve@evil.example"]},
    {"bcc": ["mallory@evil.example"]},
    {"reply_to": "oscar@evil.example"},
    {"additions": {"footer": "Pay at evil.example"}},
    {"attachments": [{**FILE, "sha256": "a" * 63 + "b"}]},
]


def test_what_changes_upstream_after_approval_is_refused_and_shown(
    signed_in, reviewer, upstream
):
    connection = make_connection(api_url=upstream.url)
    upstream.decides(200, status="approved_and_sent", decision="approved")
    message = make_message(connection, attachments=[FILE])
    for fields in (
        CHANGES[1],
        {name: text for change in CHANGES for name, text in change.items()},
    ):
        with rolled_back():
            upstream.holds(
                pending_row(message.upstream_id, **{"attachments": [FILE], **fields})
            )
            assert carry_out(message, reviewer) == "refused", fields
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
    )
    alone = f"/queue/{message.public_id}/approve/"
    make_risky(message)
    careful = desk.get(f"{alone}?order=riskiest").text
    for expected in (
        "How many people get it?",
        "A link lies.",
        f'action="{alone}?order=riskiest"',
    ):
        assert expected in careful
    assert careful.count('class="address whole"') == 5

    answer = post(desk, message, risk_read="link_text_lies", typed="northwind.example")
    assert answer.status_code == 409
    page = answer.text
    assert "approved on a page of its own" in page
    assert f'href="{alone}"' in page
    assert "Approve and send" not in page.partition('id="decide"')[2]
    assert "verdict.refused" in actions(message)
    with pytest.raises(RiskUnread):
        verdict(
            message,
            reviewer,
            "approve",
            surface="discord",
            risk_read=("first_contact",),
        )
    assert Decision.objects.count() == 0
    # Rejecting it requires no extra confirmation.
    assert verdict(message, reviewer, "reject", "No").decision.outcome == "reject"


READ = {"risk_read": ["link_text_lies"]}
DOMAIN = "northwind.example"
INCOMPLETE = [
    ({"typed": DOMAIN}, "Read this and tick it: A link lies."),
    (READ, "Enter it to confirm the recipients."),
    ({**READ, "typed": DOMAIN, "fingerprint": "x"}, "too old to decide from"),
    ({**READ, "typed": "northwlnd.example"}, "Compare it character by character."),
]


def test_high_risk_page_keeps_what_was_typed_until_all_is_there(desk, three):
    make_risky(three[0])
    asked = {
        "findings": serious_findings(three[0]),
        "asked": Asked("To whom?", (DOMAIN,), of=DOMAIN),
    }
    for fields, error in INCOMPLETE:
        form = HighRiskForm(
            {"fingerprint": three[0].revision.fingerprint, **fields}, **asked
        )
        assert error in form.first_error()
    whole = {**READ, "typed": DOMAIN, "fingerprint": three[0].revision.fingerprint}
    late = HighRiskForm(whole, **asked, has_late=True)
    assert late.errors_by_field() == {
        "thread_read": "Read the newer messages in the thread, then tick the box."
    }
    answer = post(desk, three[0], path="approve", **fields)
    page = answer.text
    assert answer.status_code == 422
    kept = ('value="northwlnd.example"', 'value="link_text_lies" checked')
    for expected in (
        error,
        *kept,
        'aria-describedby="typed-note typed-problem"',
        'id="typed-problem"',
        "novalidate",
    ):
        assert expected in page
    assert Decision.objects.count() == 0
    answer = post(desk, three[0], path="approve", **READ, typed=" @Northwind.Example. ")
    assert (
        answer["Location"]
        == f"/queue/{three[1].public_id}/?decided={three[0].public_id}"
    )
    assert Decision.objects.get().outcome == "approve"


def test_keys_are_switched_off_and_shown_where_they_are(desk, message):
    for do, is_shown in (("off", False), ("on", True)):
        desk.post("/people/me/keys/", {"do": do})
        assert (
            "<kbd>A</kbd></button></form>"
            in desk.get(f"/queue/{message.public_id}/").text
        ) == is_shown
    entries = Entry.objects.filter(action__startswith="person.keys").order_by("pk")
    assert [entry.action for entry in entries] == ["person.keys_off", "person.keys_on"]
