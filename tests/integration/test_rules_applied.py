"""Rules of the policy on messages as they come: to which they apply, what the page says
of it, and words that were not looked for yet.
"""

import binascii
import json
from base64 import b64encode
from itertools import product

from approvals import examination
from approvals.decisions.by_rule import apply_policy
from approvals.models import Decision
from common.postgres import clock
from mirror.models import Mailbox
from policy.models import PolicyVersion
from policy.rules.facts import needs_of_new_mailbox
from simple_form.declarations import rows
from tests import factories
from tests.factories import (
    actor_of,
    change_row,
    make_message,
    put_in_force,
    rolled_back,
)
from tests.integration.deciding import decide, needed
from tests.markup import words_of

TWO = {"approvals": {"0": 2}}
WORDS = {"words": ["project tulip"]}
EUR = {"amount": "1000", "currency": "EUR"}
ABOUT = {
    "words": WORDS,
    "sum": EUR,
    "new": {"first_contact": True},
    "tier": {"metadata": "tier=gold"},
    "program": {"attachments": ["program"]},
    "code": {"findings": ["attachment_runs_code"]},
}
# What a rule is about, a message, and whether the rule applies to it. The provider of a
# mailbox is nobody's own domain.
WRITTEN = """
words    {"markdown": "The strictly secret Project Tu1ip begins."}          yes
words    {"markdown": "About \u202epilut tcejorp\u202c today"}              yes
words    {"subject": "project_tulip"}                                       yes
words    {"markdown": "About project\u3164tulip today"}                     yes
words    {"markdown": "About project\u2800tulip today"}                     yes
words    {"attachments": [{"name": "Project_Tulip.pdf", "size": 1}]}        yes
words    {"markdown": "A tulip project"}                                    no
words    {"markdown": "About project tu~~x~~lip today"}                     yes
words    {"html_body": "<p>About project <del>new</del> tulip</p>"}         yes
sum      {"markdown": "We will pay 5000EUR"}                                yes
sum      {"markdown": "We will pay EUR 241.00."}                            no
sum      {"markdown": "We will pay 5000 Danish crowns"}                     yes
sum      {"subject": "In EUR", "markdown": "Please transfer 5000 today."}   yes
sum      {"subject": "Pay 5000", "markdown": "Please pay in EUR today."}    yes
sum      {"attachments": [{"name": "5000 EUR.pdf", "size": 1}]}             yes
new      {"to_addresses": ["dana@northwind.example"]}                       no
new      {"to_addresses": ["eve.evil@gmail.com"]}                           yes
program  {"html_body": "<p>begin 755 run.sh<br>M(R$O8FEN"}                  yes
"""
UUENCODED = binascii.b2a_uu(b"MZ" + b"a" * 40).decode()
# Files that are written out in the text; and metadata of which not all is looked at.
LONG = [
    ("program", f"Save this:\n\nbegin 644 bill.txt\n{UUENCODED}`\nend", True),
    ("code", f"Save this:\n\nbegin 644 bill.txt\n{UUENCODED}`\nend", True),
    ("program", b64encode(b"MZ" * 40).decode(), True),
    ("program", (b"MZ" * 99).hex(" "), True),
    ("program", (b"MZ" * 32).hex(), False),
    ("program", b64encode(b"%PDF-1.7 " * 9).decode(), False),
]
MUCH = {**dict.fromkeys(map(str, range(50)), "x"), "tier": "tin"}


def cases():
    for about, fields, applies in rows(WRITTEN):
        yield about, json.loads(fields), applies == "yes"
    for about, text, applies in LONG:
        yield about, {"markdown": text}, applies
    yield "tier", {"metadata": MUCH}, True


def test_rule_applies_however_it_is_written(message, connection, reviewer):
    change_row(message, state="delivered")
    Mailbox.objects.update(address="acme.support@gmail.com")
    for about, fields, applies in cases():
        with rolled_back():
            put_in_force({"when": ABOUT[about], "then": TWO})
            new = make_message(connection, **fields)
            assert needed(new, reviewer) == 1 + applies, fields


def test_rule_applies_where_the_key_does_not_show_to_whom_else_it_goes(
    connection, reviewer, monkeypatch
):
    change_row(make_message(connection), state="delivered")
    whole = factories.pending_row

    def in_part(*args, **named):
        return {key: one for key, one in whole(*args, **named).items() if key != "bcc"}

    whens = ABOUT["new"], ABOUT["code"], {"high_risk": True}
    for when, row in product(whens, (whole, in_part)):
        monkeypatch.setattr(factories, "pending_row", row)
        with rolled_back():
            put_in_force({"when": when, "then": TWO})
            new = make_message(connection)
            assert needed(new, reviewer) == 1 + (row is in_part), when
            # Whoever adds a mailbox reads what may be asked there.
            told = needs_of_new_mailbox(actor_of(reviewer), connection.pk)
            assert "2 approvals" in told


def test_page_says_and_marks_what_a_rule_applies_for(connection, desk, second_reviewer):
    told = {**TWO, "sentences": ["Confirm the IBAN by phone."]}
    put_in_force({"when": EUR, "then": told}, {"when": WORDS, "then": TWO})
    text = "We pay **1,225.00 EUR** for Project Tulip today."
    message = make_message(connection, markdown=text)
    path = f"/queue/{message.public_id}/"
    page, body = (desk.get(one) for one in (path, f"{path}body/"))
    marks = {"1,225.00 EUR": "rule-1", "project tulip": "rule-2"}
    assert page.context["marked"] == marks
    for one in ("Confirm the IBAN by phone.", *marks):
        assert f"“{one}" in words_of(page)
    for one in ("1,225.00 EUR", "Project Tulip"):
        assert f'class="because">{one}</span>' in body.text
    # The button promises to send only what nobody else has to approve.
    assert "Approve (1 of 2)" in words_of(page)
    decide(message, second_reviewer)
    assert "send to 1 person" in words_of(desk.get(path))
    # It can be read whatever becomes of the policy.
    put_in_force({"bad": 1, "then": TWO})
    body = desk.get(f"{path}body/")
    assert "because" not in body.text.partition("<body")[2]


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
