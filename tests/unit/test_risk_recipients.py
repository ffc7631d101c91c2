"""Who gets the letter: look-alikes, first contacts and many people, each with a near miss."""

import time

import pytest

from approvals.risk import RiskContext, find_risks
from approvals.risk.addresses import everybody
from approvals.risk.resembling import Neighbours, resembles
from approvals.showing import show_letter
from common.fingerprint import Content

KNOWN = RiskContext(
    own_domains=("yourteam.example",),
    known_addresses={"billing@acme-corp.example": 31, "dana@northwind.com": 4, "sales@gmail.com": 2},
)


def findings_for(rule, context=KNOWN, **fields):
    content = Content(markdown="Hello", **fields)
    return [f for f in find_risks(content, show_letter(content), context) if f.rule == rule]


@pytest.mark.parametrize(
    ("domain", "kin"),
    [
        ("acrne-corp.example", "acme-corp.example"),
        ("acme-c0rp.example", "acme-corp.example"),
        ("acme-corp.exarnple", "acme-corp.example"),
        ("acmecorp.example", "acme-corp.example"),
        ("acme-corps.example", "acme-corp.example"),
        ("amce-corp.example", "acme-corp.example"),
        ("northwlnd.com", "northwind.com"),
        ("nothwind.com", "northwind.com"),
        ("n0rthwimd.com", "northwind.com"),
        ("northwind.com.evil.io", "northwind.com"),
        ("xn--nrthwind-66g.com", "northwind.com"),
        ("yourtean.example", "yourteam.example"),
    ],
)
def test_domain_that_is_almost_a_known_one_is_found(domain, kin):
    [found] = findings_for("lookalike_recipient", to=(f"billing@{domain}",))
    assert found.level == "high"
    assert found.evidence == (f"billing@{domain}", kin)
    assert kin in found.detail


@pytest.mark.parametrize(
    "address",
    [
        "billing@acme-corp.example",
        "somebody@acme-corp.example",
        "a@mail.acme-corp.example",
        "a@contoso.example",
        "a@ymail.com",
        "a@southwind.org",
        "a@münchen.example",
        "Billing <billing@ACME-corp.example>",
    ],
)
def test_known_and_unlike_recipients_are_left_in_peace(address):
    assert findings_for("lookalike_recipient", to=(address,)) == []


def test_mixed_scripts_are_found_without_any_known_contact():
    [found] = findings_for("odd_address", RiskContext(), to=("a@gооgle.example",))
    assert found.sentence == "A recipient's domain mixes letters of different scripts."


def test_address_one_letter_from_a_known_person_is_a_notice():
    [found] = findings_for("lookalike_recipient", cc=("bi1ling@acme-corp.example", "dana@northwind.com"))
    assert (found.level, found.evidence[1]) == ("notice", "billing@acme-corp.example")


def test_numbered_names_are_not_look_alikes():
    context = RiskContext(known_addresses={"sales1@acme-corp.example": 1})
    assert findings_for("lookalike_recipient", context, to=("sales2@acme-corp.example",)) == []


def test_bcc_and_added_copies_count_as_recipients():
    content = Content(to=("A <a@x.example>",), bcc=("b@x.example",), additions={"auto_bcc": "c@x.example, d@X.example"})
    assert everybody(content) == ("a@x.example", "b@x.example", "c@x.example", "d@x.example")


def test_short_names_are_not_compared():
    assert resembles("ibn.com", Neighbours({"ibm.com"})) == ""
    assert resembles("1bm.com", Neighbours({"lbm.com"})) == "lbm.com"


def test_first_contact_is_a_notice_only_where_contacts_are_known():
    [found] = findings_for(
        "first_contact", to=("new@contoso.example", "billing@acme-corp.example", "ana@yourteam.example")
    )
    assert (found.level, found.detail) == ("notice", "new@contoso.example.")
    assert findings_for("first_contact", RiskContext(), to=("new@contoso.example",)) == []
    assert findings_for("first_contact", to=("billing@acme-corp.example",)) == []


@pytest.mark.parametrize(("number", "levels"), [(10, []), (11, ["notice"]), (50, ["notice"]), (51, ["high"])])
def test_many_recipients_rise_in_level(number, levels):
    people = tuple(f"p{i}@contoso.example" for i in range(number))
    found = findings_for("many_recipients", to=people[:5], cc=people[5:], bcc=people[:1])
    assert [f.level for f in found] == levels


def test_mass_mail_against_many_contacts_takes_no_longer_than_a_moment():
    context = RiskContext(known_addresses={f"p{i}@company{i:05}.example": 1 for i in range(3000)})
    started = time.process_time()
    assert findings_for("many_recipients", context, to=tuple(f"a{i}@other{i:05}.example" for i in range(3000)))
    assert time.process_time() - started < 3
