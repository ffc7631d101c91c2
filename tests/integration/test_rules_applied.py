"""Rules of the policy on messages as they come: to which they apply, what the page says
of it, and words that were not looked for yet.
"""

import binascii
from base64 import b64encode

from approvals import examination
from approvals.decisions.by_rule import apply_policy
from approvals.models import Decision
from common.postgres import clock
from mirror.models import Mailbox
from policy.models import PolicyVersion
from tests.factories import change_row, make_message, put_in_force, rolled_back
from tests.integration.deciding import needed
from tests.markup import words_of

TWO = {"approvals": {"0": 2}}
WORDS = {"words": ["project tulip"]}
EUR = {"amount": "1000", "currency": "EUR"}
NEW = {"first_contact": True}
TULIP = {"markdown": "The strictly secret Project Tu1ip begins."}
FILE = {"size": 1, "content_type": "application/pdf"}
PROGRAM = {"attachments": ["program"]}
UUENCODED = binascii.b2a_uu(b"MZ" + b"a" * 40).decode()
ENCODED = {"markdown": f"Save this:\n\nbegin 644 bill.txt\n{UUENCODED}`\nend"}


# Conditions, a message, and whether the rule applies to it.
WRITTEN = [
    (WORDS, TULIP, True),
    (WORDS, {"markdown": "About \u202epilut tcejorp\u202c today"}, True),
    (WORDS, {"subject": "project_tulip"}, True),
    (WORDS, {"markdown": "About project\u3164tulip today"}, True),
    (WORDS, {"markdown": "About project\u2800tulip today"}, True),
    (WORDS, {"attachments": [{"name": "Project_Tulip.pdf", **FILE}]}, True),
    (WORDS, {"markdown": "A tulip project"}, False),
    (WORDS, {"markdown": "About project tu~~x~~lip today"}, True),
    (WORDS, {"html_body": "<p>About project <del>new</del> tulip</p>"}, True),
    (EUR, {"markdown": "We will pay 5000EUR"}, True),
    (EUR, {"markdown": "We will pay EUR 241.00."}, False),
    (EUR, {"markdown": "We will pay 5000 Danish crowns"}, True),
    (EUR, {"subject": "In EUR", "markdown": "Please transfer 5000 today."}, True),
    (EUR, {"subject": "Pay 5000", "markdown": "Please pay in EUR today."}, True),
    (EUR, {"attachments": [{"name": "5000 EUR.pdf", **FILE}]}, True),
    # Files that are written out in the text.
    (PROGRAM, ENCODED, True),
    ({"findings": ["attachment_runs_code"]}, ENCODED, True),
    (PROGRAM, {"html_body": "<p>begin 755 run.sh<br>M(R$O8FEN"}, True),
    (PROGRAM, {"markdown": b64encode(b"MZ" * 40).decode()}, True),
    (PROGRAM, {"markdown": (b"MZ" * 99).hex(" ")}, True),
    (PROGRAM, {"markdown": (b"MZ" * 32).hex()}, False),
    (PROGRAM, {"markdown": b64encode(b"%PDF-1.7 " * 9).decode()}, False),
    (NEW, {"to_addresses": ["dana@northwind.example"]}, False),
    # The provider of a mailbox is nobody's own domain.
    (NEW, {"to_addresses": ["eve.evil@gmail.com"]}, True),
]


def test_rule_applies_however_it_is_written(message, connection, reviewer):
    change_row(message, state="delivered")
    Mailbox.objects.update(address="acme.support@gmail.com")
    wrong = []
    for when, fields, applies in WRITTEN:
        with rolled_back():
            put_in_force({"when": when, "then": TWO})
            if needed(make_message(connection, **fields), reviewer) != 1 + applies:
                wrong.append(fields)
    assert wrong == []


def test_page_says_and_marks_what_a_rule_applies_for(connection, desk):
    told = {**TWO, "sentences": ["Confirm the IBAN by phone."]}
    put_in_force({"when": EUR, "then": told}, {"when": WORDS, "then": TWO})
    text = "We pay **1,225.00 EUR** for Project Tulip today."
    message = make_message(connection, markdown=text)
    page = desk.get(f"/queue/{message.public_id}/")
    marks = {"1,225.00 EUR": "rule-1", "project tulip": "rule-2"}
    assert page.context["marked"] == marks
    for one in ("Confirm the IBAN by phone.", *marks):
        assert f"“{one}" in words_of(page)
    body = f"/queue/{message.public_id}/body/"
    for one in ("1,225.00 EUR", "Project Tulip"):
        assert f'class="because">{one}</span>' in desk.get(body).text
    # It can be read whatever becomes of the policy.
    put_in_force({"bad": 1, "then": TWO})
    assert "because" not in desk.get(body).text.partition("<body")[2]


def test_word_is_unknown_until_it_was_looked_for_and_nothing_is_rejected_before(
    connection, reviewer, monkeypatch
):
    of_draft = {"id": "a", "name": "A", "when": {"words": ["rose"]}, "then": TWO}
    draft = PolicyVersion.objects.create(number=1, rules=[of_draft], state="draft")
    named, other = messages = [
        make_message(connection, markdown=f"A {one} and Project Tulip")
        for one in ("rose", "lily")
    ]

    def asked():
        return [needed(one, reviewer) for one in messages]

    # The words of the draft are known of what comes before it is activated.
    with monkeypatch.context() as patch:
        patch.setattr(examination, "rendered_content", None)
        change_row(draft, state="active", activated_at=clock())
        assert asked() == [2, 1]
        assert apply_policy() == 2
    put_in_force({"when": {"words": ["lily"]}, "then": TWO})
    assert asked() == [2, 2]
    assert apply_policy() == 2
    assert asked() == [1, 2]
    # Nor is a word known in a field that the key does not show.
    change_row(named.revision, coverage=["to", "subject"])
    put_in_force({"when": {"words": ["lily"]}, "then": {"reject": "No."}})
    assert apply_policy() == 2
    assert Decision.objects.get().message == other
