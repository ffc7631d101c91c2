"""Who gets the message: look-alikes, first contacts and many people, each with a near
miss.
"""

from common.fingerprint import Content
from rendering.render import render_message
from risk import find_risks
from risk.addresses import everybody
from risk.findings import RiskContext
from risk.lookalikes import COLUMNS, KnownDomains, compare_names, lookalike_of

KNOWN = RiskContext(
    own_domains=("yourteam.example",),
    known_addresses={
        "billing@acme-corp.example": 31,
        "dana@northwind.com": 4,
        "sales@gmail.com": 2,
    },
)
# Known domains, and what is almost one of them.
LOOKALIKES = {
    "acme-corp.example": [
        "acrne-corp.example", "acme-c0rp.example", "acme-corp.exarnple", "acmecorp.example", "acme-corps.example",
        "amce-corp.example",
    ],
    "northwind.com": [
        "northwlnd.com", "nothwind.com", "n0rthwimd.com", "northwind.com.evil.io", "xn--nrthwind-66g.com",
    ],
    "yourteam.example": ["yourtean.example"],
}  # fmt: skip


def findings_for(rule, context=KNOWN, **fields):
    content = Content(markdown="Hello", **fields)
    return [
        f
        for f in find_risks(content, render_message(content), context)
        if f.rule == rule
    ]


def test_domain_that_is_almost_a_known_one_is_found():
    for kin, domains in LOOKALIKES.items():
        for domain in domains:
            [found] = findings_for("lookalike_recipient", to=(f"billing@{domain}",))
            assert found.level == "high"
            assert found.evidence == (f"billing@{domain}", kin)
            assert kin in found.detail


def aligned(address, known):
    """Return the two rows, with each run of letters that differ in brackets."""
    rows = compare_names(address, known)
    return tuple(
        "".join(f"[{text}]" if differs else text for differs, text in row)
        for row in (rows.written, rows.known)
    )


def test_letters_that_differ_are_marked_and_both_names_stand_aligned():
    cases = {
        ("billing@acme-c0rp.example", "acme-corp.example"): (
            "acme-c[0]rp.example",
            "acme-c[o]rp.example",
        ),
        ("billing@acrne-corp.example", "acme-corp.example"): (
            "ac[rn]e-corp.example",
            "ac[m ]e-corp.example",
        ),
        ("a@nothwind.com", "northwind.com"): ("no[ ]thwind.com", "no[r]thwind.com"),
        ("a@xn--nrthwind-nbh.com", "northwind.com"): (
            "n[о]rthwind.com",
            "n[o]rthwind.com",
        ),
        ("a@northwind.com.evil.io", "northwind.com"): (
            "northwind.com[.evil.io]",
            "northwind.com[        ]",
        ),
        ("a@mail.northwlnd.com", "northwind.com"): (
            "mail.northw[l]nd.com",
            "mail.northw[i]nd.com",
        ),
        ("bi1ling@acme.example", "billing@acme.example"): (
            "bi[1]ling@acme.example",
            "bi[l]ling@acme.example",
        ),
    }
    for (address, known), rows in cases.items():
        assert aligned(address, known) == rows
    assert compare_names("a@n0thwind.com", "northwind.com").in_words == "“0” for “or”"
    long = compare_names(f"a@{'x' * 60}1{'y' * 60}.com", f"{'x' * 60}l{'y' * 60}.com")
    assert sum(len(text) for _, text in long.written) <= COLUMNS + 2
    assert (True, "1") in long.written


def test_known_and_unlike_recipients_are_left_in_peace():
    known = [
        "billing@acme-corp.example",
        "somebody@acme-corp.example",
        "Billing <billing@ACME-corp.example>",
    ]
    unlike = [
        "a@mail.acme-corp.example",
        "a@contoso.example",
        "a@ymail.com",
        "a@southwind.org",
        "a@münchen.example",
    ]
    assert [
        one
        for one in (*known, *unlike)
        if findings_for("lookalike_recipient", to=(one,))
    ] == []
    # Numbered names are no look-alikes, and short ones are not compared.
    context = RiskContext(known_addresses={"sales1@acme-corp.example": 1})
    assert (
        findings_for("lookalike_recipient", context, to=("sales2@acme-corp.example",))
        == []
    )
    assert lookalike_of("ibn.com", KnownDomains({"ibm.com"})) == ""
    assert lookalike_of("1bm.com", KnownDomains({"lbm.com"})) == "lbm.com"


def test_address_one_character_from_a_known_person_is_a_notice():
    [found] = findings_for(
        "lookalike_recipient", cc=("bi1ling@acme-corp.example", "dana@northwind.com")
    )
    assert found.level == "notice"
    assert found.evidence[1] == "billing@acme-corp.example"


def test_bcc_and_added_copies_count_as_recipients():
    content = Content(
        to=("A <a@x.example>",),
        bcc=("b@x.example",),
        additions={"auto_bcc": "c@x.example, d@X.example"},
    )
    assert everybody(content) == (
        "a@x.example",
        "b@x.example",
        "c@x.example",
        "d@x.example",
    )


def test_first_contact_is_a_notice_only_where_contacts_are_known():
    known = "billing@acme-corp.example"
    [found] = findings_for(
        "first_contact", to=("new@contoso.example", known, "ana@yourteam.example")
    )
    assert found.level == "notice"
    assert found.detail == "new@contoso.example."
    assert (
        findings_for("first_contact", RiskContext(), to=("new@contoso.example",)) == []
    )
    assert findings_for("first_contact", to=(known,)) == []


def test_many_recipients_rise_in_level():
    for number, levels in (
        (10, []),
        (11, ["notice"]),
        (50, ["notice"]),
        (51, ["high"]),
    ):
        people = tuple(f"p{i}@contoso.example" for i in range(number))
        found = findings_for(
            "many_recipients", to=people[:5], cc=people[5:], bcc=people[:1]
        )
        assert [f.level for f in found] == levels, number
