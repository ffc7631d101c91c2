"""Whom a message greets, names and answers to: greetings, lying names, odd letters,
Reply-To.
"""

from common.fingerprint import Content
from rendering.render import render_message
from risk import CHECKS, jobs
from risk.check_greeting import greeting_of
from risk.findings import RiskContext, address_anchor, run_checks
from risk.lookalikes import lookalike_of, looks_of
from simple_form.data import rows

ALL = (*jobs.CHECKS, *CHECKS)
KNOWN = RiskContext(
    own_domains=frozenset({"yourteam.example"}),
    known_addresses={"billing@acme-corp.example": 31, "ivo@münchen.example": 2},
)


def found(rule, context=KNOWN, **fields):
    content = Content(
        **{"sender": "support@yourteam.example", "markdown": "Hello", **fields}
    )
    return [
        one
        for one in run_checks(ALL, content, render_message(content), context)
        if one.rule == rule
    ]


def levels(rule, **fields):
    return [one.level for one in found(rule, **fields)]


def test_address_with_a_letter_that_only_looks_known_is_new():
    content = Content(to=("\u212aate@acme.example",), markdown="Hello")
    context = RiskContext(known_addresses={"kate@acme.example": 2})
    found = run_checks(CHECKS, content, render_message(content), context)
    assert "first_contact" in [one.rule for one in found]


# greetings

# The names in a greeting, - for none, and a line that greets so.
GREETINGS = list(
    rows("""
Anna        Dear Anna,
Anna        Hello **Anna**,
Anna        hi Anna!
Anna        Dear Anna - a quick question
Anna        Dear Anna, Bob and everybody,
Anna Smith  Dear Dr Anna Smith:
Müller      Sehr geehrte Frau Dr. Müller,
Amélie      Chère Amélie,
Анна        Уважаемая Анна,
-           Dear all,
-           Dear Sir or Madam,
-           Sehr geehrte Damen und Herren,
-           Dear
-           Hello Anna is not here today
-           My dearest wish is peace
""")
)


def test_greeting_is_read_in_many_languages_at_the_beginning_only():
    for names, line in GREETINGS:
        letter = f"\n\n{line}\n\nThe letter goes on, Dear Zoe, much later."
        assert " ".join(greeting_of(letter).words) == names.strip("-"), line
    assert greeting_of("line\n" * 20 + "Dear Anna,").words == ()


# Greetings, and an address to which such a message goes by mistake, or to which it goes
# rightly or may.
WRONG = list(
    rows("""
Dear Anna,                 bob@northwind.example
Dear Anna,                 Bob Jones <x91@northwind.example>
Dear Anna,                 bob.jones@northwind.example
Dear Anna Smith,           bob.jones@northwind.example
Sehr geehrte Frau Müller,  anna.schmidt@northwind.example
Dear Mark,                 maria@northwind.example
""")
)
RIGHT = list(
    rows("""
Dear Anna,          anna@northwind.example
Dear Anna,          anne@northwind.example
Dear Anna,          a.smith@northwind.example
Dear Anna,          asmith@northwind.example
Dear Anna,          schmidt.anna@northwind.example
Dear Anna,          Anna Smith <bob@northwind.example>
Dear Anna,          info@northwind.example
Dear Anna,          bob.sales@northwind.example
Dear Anna,          northwind@contoso.example
Dear Anna,          xq77@northwind.example
Dear Bob,           robert@northwind.example
Dear Jürgen,        juergen@northwind.example
Dear Ms Smith,      bob@northwind.example
Dear Ms Smith,      Northwind Traders <nt@northwind.example>
Dear Northwind,     bob@northwind.example
Dear Acme Support,  bob@northwind.example
Dear customer,      bob@northwind.example
Dear Xyzzy,         bob@northwind.example
""")
)


def greets_another(line, *to, **fields):
    return found("greeting_differs", markdown=f"{line}\n\nhere it is.", to=to, **fields)


def test_message_that_greets_another_is_found_and_one_that_may_be_right_is_not():
    for line, to in WRONG:
        [one] = greets_another(line, to)
        assert line in one.detail
    assert [pair for pair in RIGHT if greets_another(*pair)] == []


# names that lie


def test_name_that_is_another_address_is_found():
    billing = "billing@acme-corp.example"
    expected = {
        billing: ["high"],
        "Billing (billing＠acme-corp.example)": ["high"],
        f"bill\u200b{billing[4:]}": ["high"],
        f"support@yourteam.example, {billing}": ["high"],
    }
    expected |= {
        "ana@yourteam.example": ["notice"],
        "acme-corp.com billing": ["notice"],
        "me @ home": [],
    }
    expected |= {"yourteam.example": [], "Node.js, Dr. Smith & Co. (v1.2)": []}
    assert {
        name: levels("name_says_address", sender_name=name) for name in expected
    } == expected
    assert (
        levels(
            "name_says_address", to=("dana@northwind.example <dana@northwind.example>",)
        )
        == []
    )
    assert levels(
        "name_says_address", reply_to='"support@yourteam.example" <x@evil.example>'
    ) == ["high"]


# letters that mislead


def test_address_in_letters_that_mislead_is_found():
    for address, level in (
        ("a@gооgle.example", "high"),
        ("billіng@northwind.example", "high"),
        ("a@xn--80ak6aa92e.com", "high"),
        ("раура@northwind.example", "high"),
        ("a@bücher.example", "notice"),
        ("a@xn--bcher-kva.example", "notice"),
    ):
        assert levels("odd_address", to=(address,)) == [level], address


ODD = """-oQ@northwind.example
|cmd@x.example
Ana <a`id`@x.example>
/a@x.example
a%b@northwind.example
northwind.example!a@yourteam.example
a@[127.0.0.1]
a@10.0.0.1
a@2130706433
Ana <a@localhost>"""


def test_address_that_leads_elsewhere_by_its_form_is_found_also_where_it_is_known():
    for address in ODD.splitlines():
        bare = address.rpartition("<")[2].rstrip(">")
        known = RiskContext(known_addresses={bare: 3})
        [one] = found("odd_address", known, to=(address,))
        assert (one.level, one.anchor) == ("high", address_anchor(bare)), address


# where answers go


def test_answers_that_go_elsewhere_are_found():
    elsewhere = [
        "x@evil.example",
        "Support <x@evil.example>",
        "support@yourteam.example, x@evil.example",
    ]
    expected = {reply_to: ["high"] for reply_to in (*elsewhere, "yourteam@gmail.com")}
    expected |= {
        "billing@acme-corp.example": ["notice"],
        "help@mail.yourteam.example": [],
    }
    expected |= {"support@YourTeam.example": [], None: [], "not an address": []}
    assert {
        reply_to: levels("reply_elsewhere", reply_to=reply_to) for reply_to in expected
    } == expected


CUSTOMERS = RiskContext(
    own_domains=frozenset({"yourteam.example"}),
    known_addresses={
        "billing@acme-corp.example": 31,
        "dana@northwind.com": 4,
        "sales@gmail.com": 2,
    },
)
# A known domain, and what is almost it.
LOOKALIKES = list(
    rows("""
acme-corp.example  acrne-corp.example
acme-corp.example  acme-c0rp.example
acme-corp.example  acme-corp.exarnple
acme-corp.example  acmecorp.example
acme-corp.example  acme-corps.example
acme-corp.example  amce-corp.example
northwind.com      northwlnd.com
northwind.com      nothwind.com
northwind.com      n0rthwimd.com
northwind.com      northwind.com.evil.io
northwind.com      northwind.com.my-northwind.com
northwind.com      xn--nrthwind-66g.com
yourteam.example   yourtean.example
""")
)


def test_domain_that_is_almost_a_known_one_is_found():
    for kin, domain in LOOKALIKES:
        [one] = found("lookalike_recipient", CUSTOMERS, to=(f"billing@{domain}",))
        assert one.level == "high"
        assert one.evidence == (f"billing@{domain}", kin)
        assert kin in one.detail


def test_known_and_unlike_recipients_are_left_in_peace():
    for one in (
        "somebody@acme-corp.example",
        "Billing <billing@ACME-corp.example>",
        "a@mail.acme-corp.example",
        "a@contoso.example",
        "a@ymail.com",
        "a@southwind.org",
    ):
        assert found("lookalike_recipient", CUSTOMERS, to=(one,)) == [], one
    # Numbered names are no look-alikes, and short ones are not compared.
    context = RiskContext(known_addresses={"sales1@acme-corp.example": 1})
    assert found("lookalike_recipient", context, to=("sales2@acme-corp.example",)) == []
    assert lookalike_of("ibn.com", looks_of({"ibm.com"})) == ""
    assert lookalike_of("1bm.com", looks_of({"lbm.com"})) == "lbm.com"


def test_lookalike_behind_many_other_addresses_is_found_or_left_in_doubt():
    known = {f"person{number}@acme.example": 1 for number in range(30)}
    near = [f"persom{number}@acme.example" for number in range(10, 30)]
    context = RiskContext(known_addresses={**known, "ana@northwind.com": 1})
    lookalike = ("ana@n0rthwind.com",)
    seen = found("lookalike_recipient", context, to=(*near, *lookalike))
    assert (len(seen), seen[0].level) == (20, "high")
    others = [f"ana@company{number}.example" for number in range(100)]
    [one] = found("lookalike_recipient", context, to=(*others, *lookalike))
    assert one.sentence == "Not all addresses were compared with known ones."
    assert not found("lookalike_recipient", context, to=others[:99])


def test_every_address_of_reply_to_is_checked():
    replies = [f"support{number}@yourteam.example" for number in range(20)]
    listed = ", ".join([*replies, "ana@acme.example <eve@evil.example>"])
    for rule in ("reply_elsewhere", "name_says_address"):
        assert found(rule, reply_to=listed), rule
