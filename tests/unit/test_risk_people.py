"""Whom a letter greets, names and answers to: greetings, lying names, odd letters, Reply-To, the allowlist, repeats."""

import pytest

from approvals.risk import Rejected, RiskContext, find_risks
from approvals.risk.greeting import greeting_of, is_one_name, spellings
from approvals.risk.places import address_id, at_address
from approvals.showing import show_letter
from common.fingerprint import Content

KNOWN = RiskContext(
    own_domains=("yourteam.example",),
    known_addresses={"billing@acme-corp.example": 31, "ivo@münchen.example": 2},
)


def found(rule, context=KNOWN, **fields):
    content = Content(**{"sender": "support@yourteam.example", "markdown": "Hello", **fields})
    return [one for one in find_risks(content, show_letter(content), context) if one.rule == rule]


# greetings


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Dear Anna,", ("Anna",)),
        ("Hello **Anna**,", ("Anna",)),
        ("hi Anna!", ("Anna",)),
        ("Dear Ms. Smith,", ("Smith",)),
        ("Dear Dr Anna Smith:", ("Anna", "Smith")),
        ("Sehr geehrte Frau Dr. Müller,", ("Müller",)),
        ("Liebe Änne,", ("Änne",)),
        ("Chère Amélie,", ("Amélie",)),
        ("Estimado señor García:", ("García",)),
        ("Gentile Dott.ssa Rossi", ()),
        ("Caro Marco,", ("Marco",)),
        ("Olá João,", ("João",)),
        ("Beste Sanne,", ("Sanne",)),
        ("Hej Åsa,", ("Åsa",)),
        ("Szanowna Pani Nowak,", ("Nowak",)),
        ("Уважаемая Анна,", ("Анна",)),
        ("Dear Anna - a quick question", ("Anna",)),
        ("Dear Anna, Bob and everybody,", ("Anna",)),
        ("Dear all,", ()),
        ("Dear Sir or Madam,", ()),
        ("Sehr geehrte Damen und Herren,", ()),
        ("Hello there,", ()),
        ("Dear", ()),
        ("Hello Anna is not here today", ()),
        ("Highway 5 is closed", ()),
        ("My dearest wish is peace", ()),
    ],
)
def test_greeting_is_read_in_many_languages(line, words):
    assert greeting_of(f"\n\n{line}\n\nThe letter goes on, Dear Zoe, much later.").words == words


def test_greeting_far_from_the_beginning_is_none():
    assert greeting_of("line\n" * 20 + "Dear Anna,").words == ()


@pytest.mark.parametrize(
    ("line", "to"),
    [
        ("Dear Anna,", "bob@northwind.example"),
        ("Dear Anna,", "Bob Jones <x91@northwind.example>"),
        ("Dear Anna,", "bob.jones@northwind.example"),
        ("Dear Anna Smith,", "bob.jones@northwind.example"),
        ("Sehr geehrte Frau Müller,", "anna.schmidt@northwind.example"),
        ("Liebe Anna,", "boris@northwind.example"),
        ("Уважаемая Анна,", "boris@northwind.example"),
        ("Cher Pierre,", "marie.dupont@northwind.example"),
        ("Dear Mark,", "maria@northwind.example"),
    ],
)
def test_letter_that_greets_another_is_found(line, to):
    [one] = found("greeting_differs", markdown=f"{line}\n\nhere it is.", to=(to,))
    assert (one.level, one.anchor, one.points) == ("notice", "#sheet", 30)
    assert line in one.detail
    assert to.rpartition("<")[2].rstrip(">") in one.detail


@pytest.mark.parametrize(
    ("line", "to"),
    [
        ("Dear Anna,", "anna@northwind.example"),
        ("Dear Anna,", "anne@northwind.example"),
        ("Dear Anna,", "a.smith@northwind.example"),
        ("Dear Anna,", "asmith@northwind.example"),
        ("Dear Anna,", "schmidt.anna@northwind.example"),
        ("Dear Anna,", "Anna Smith <bob@northwind.example>"),
        ("Dear Anna,", "info@northwind.example"),
        ("Dear Anna,", "bob.sales@northwind.example"),
        ("Dear Anna,", "northwind@contoso.example"),
        ("Dear Anna,", "xq77@northwind.example"),
        ("Dear Bob,", "robert@northwind.example"),
        ("Dear Bill,", "william.h@northwind.example"),
        ("Dear Alex,", "alexandra@northwind.example"),
        ("Dear Sasha,", "alexander@northwind.example"),
        ("Dear Jürgen,", "juergen@northwind.example"),
        ("Dear Ms Smith,", "bob@northwind.example"),
        ("Dear Ms Smith,", "Northwind Traders <nt@northwind.example>"),
        ("Dear Mr Jones,", "Bob Jones <b@northwind.example>"),
        ("Sehr geehrter Herr Müller,", "j.mueller@northwind.example"),
        ("Dear Northwind,", "bob@northwind.example"),
        ("Dear Acme Support,", "bob@northwind.example"),
        ("Dear customer,", "bob@northwind.example"),
        ("Dear all,", "bob@northwind.example"),
        ("Уважаемый Борис,", "boris@northwind.example"),
        ("Dear Xyzzy,", "bob@northwind.example"),
    ],
)
def test_greeting_that_may_be_right_is_left_in_peace(line, to):
    assert found("greeting_differs", markdown=f"{line}\n\nhere it is.", to=(to,)) == []


def test_greeting_is_compared_with_everybody_who_gets_the_letter():
    letter = {"markdown": "Dear Anna,\n\nhere it is.", "to": ("bob@northwind.example",)}
    assert found("greeting_differs", **letter)
    assert found("greeting_differs", **letter, cc=("anna@northwind.example",)) == []
    crowd = tuple(f"{name}@northwind.example" for name in ("bob", "eva", "tom", "max", "ida", "udo"))
    assert found("greeting_differs", **{**letter, "to": crowd}) == []


def test_greeting_in_html_is_read_as_it_shows():
    html = "<table><tr><td><p>Dear <b>Anna</b>,</p><p>here it is.</p></td></tr></table>"
    assert found("greeting_differs", html=html, to=("bob@northwind.example",))


def test_names_are_one_in_their_other_spellings():
    assert spellings("Müller") == ("muller", "mueller")
    assert all(is_one_name(*pair) for pair in (("jo", "j"), ("anna", "hannah"), ("rob", "bobby"), ("tom", "thomas")))
    assert not any(is_one_name(*pair) for pair in (("anna", "bob"), ("mark", "maria"), ("tim", "tina")))


# names that lie


@pytest.mark.proves("security 33")
@pytest.mark.parametrize(
    ("fields", "levels"),
    [
        ({"sender_name": "billing@acme-corp.example"}, ["high"]),
        ({"sender_name": "Billing (billing＠acme-corp.example)"}, ["high"]),
        ({"sender_name": "bill\u200bing@acme-corp.example"}, ["high"]),
        ({"to": ("ana@yourteam.example <x@evil.example>",)}, ["high"]),
        ({"reply_to": '"support@yourteam.example" <x@evil.example>'}, ["high"]),
        ({"sender_name": "ana@yourteam.example"}, ["notice"]),
        ({"sender_name": "acme-corp.com billing"}, ["notice"]),
        ({"sender_name": "Support <support@YOURTEAM.example>"}, []),
        ({"sender_name": "yourteam.example"}, []),
        ({"sender_name": "Node.js, Dr. Smith & Co. (v1.2)"}, []),
        ({"to": ("dana@northwind.example <dana@northwind.example>",)}, []),
        ({"sender_name": "me @ home"}, []),
    ],
    ids=range(12),
)
def test_name_that_is_another_address_is_found(fields, levels):
    assert [one.level for one in found("name_says_address", **fields)] == levels


def test_lying_name_names_both_and_leads_to_the_address():
    [one] = found("name_says_address", to=("ana@yourteam.example <x@evil.example>",))
    assert one.detail == "It reads “ana@yourteam.example”; the address is x@evil.example."
    assert one.anchor == at_address("x@evil.example")


# letters that mislead


@pytest.mark.proves("security 32")
@pytest.mark.parametrize(
    ("address", "level", "words"),
    [
        ("a@gооgle.example", "high", "mixes letters of different scripts"),
        ("billіng@northwind.example", "high", "name before the @ mixes"),
        ("a@xn--80ak6aa92e.com", "high", "letters that pass for Latin ones"),
        ("раура@northwind.example", "high", "name before the @ is written in letters that pass"),
        ("a@bücher.example", "notice", "letters outside plain Latin"),
        ("a@xn--bcher-kva.example", "notice", "letters outside plain Latin"),
    ],
    ids=["mixed", "mixed name", "homograph", "homograph name", "foreign", "punycode"],
)
def test_address_in_letters_that_mislead_is_found(address, level, words):
    [one] = found("odd_address", to=(address,))
    assert one.level == level
    assert words in one.sentence
    if "@b" in address or "xn--" in address:
        assert "which is looked up as xn--" in one.detail


@pytest.mark.parametrize(
    "address", ["ivo@münchen.example", "a@northwind.example", "jörg@northwind.example", "田中@例え.example"]
)
def test_known_and_plain_addresses_are_not_odd(address):
    assert [one.level for one in found("odd_address", to=(address,)) if one.level == "high"] == []
    if address in KNOWN.known_addresses or address.isascii():
        assert found("odd_address", to=(address,)) == []


def test_odd_sender_and_reply_to_are_named_as_such():
    [sender] = found("odd_address", sender="a@gооgle.example")
    [reply] = found("odd_address", reply_to="a@gооgle.example")
    assert (sender.sentence[:12], reply.sentence[:12]) == ("A sender's d", "A Reply-To's")


# where answers go


@pytest.mark.parametrize(
    ("reply_to", "levels"),
    [
        ("x@evil.example", ["high"]),
        ("Support <x@evil.example>", ["high"]),
        ("support@yourteam.example, x@evil.example", ["high"]),
        ("yourteam@gmail.com", ["high"]),
        ("billing@acme-corp.example", ["notice"]),
        ("help@mail.yourteam.example", []),
        ("support@YourTeam.example", []),
        (None, []),
        ("not an address", []),
    ],
)
def test_answers_that_go_elsewhere_are_found(reply_to, levels):
    assert [one.level for one in found("reply_elsewhere", reply_to=reply_to)] == levels


def test_answers_to_a_neighbour_of_the_sender_go_nowhere_else():
    letter = {"sender": "news@shop.example", "reply_to": "help@mail.shop.example"}
    assert found("reply_elsewhere", RiskContext(), **letter) == []
    assert found("reply_elsewhere", RiskContext(), **{**letter, "reply_to": "help@shop.evil.example"})


def test_look_alike_in_reply_to_is_found_too():
    [one] = found("lookalike_recipient", reply_to="billing@acrne-corp.example")
    assert one.sentence == "A Reply-To's domain is almost one you write to."


# the allowlist


def test_off_allowlist_says_nothing_while_the_lists_say_nothing():
    assert found("off_allowlist", to=("x@evil.example",)) == []


def test_recipients_off_the_allowlist_are_found_and_called_milder_while_the_list_watches():
    eve = "Eve <eve@northwind.example>"
    [one] = found("off_allowlist", RiskContext(off_list=(eve,)), to=("a@acme.example", eve))
    assert (one.level, one.detail, one.anchor) == (
        "high",
        "eve@northwind.example.",
        at_address("eve@northwind.example"),
    )
    [watched] = found("off_allowlist", RiskContext(watched=(eve,)), to=(eve,))
    assert watched.level == "notice"
    [two] = found("off_allowlist", RiskContext(off_list=(eve, "bo@evil.io")), to=(eve, "bo@evil.io"))
    assert two.sentence == "2 recipients were on no allowlist when the letter was read."


# what was rejected before


def test_repeated_letter_names_who_when_and_why():
    before = Rejected("0193", by="Ana", at="20 November 2026, 10:42 UTC", reason="Wrong account")
    [one] = found("rejected_before", RiskContext(rejected=before))
    assert one.sentence == "A letter that says the same was rejected by Ana on 20 November 2026, 10:42 UTC."
    assert (one.level, one.detail, one.evidence) == ("high", "“Wrong account”", ("0193",))


def test_repeated_letter_of_another_mailbox_names_nobody():
    before = Rejected("0193", by="Ana", at="20 November 2026, 10:42 UTC", reason="Secret", in_same_mailbox=False)
    [one] = found("rejected_before", RiskContext(rejected=before))
    assert not any(word in str(one) for word in ("Ana", "Secret", "0193"))


def test_letter_that_is_nearly_the_same_is_milder():
    before = Rejected("0193", by="", at="20 November 2026, 10:42 UTC", is_same=False)
    [one] = found("rejected_before", RiskContext(rejected=before))
    assert (one.level, one.detail) == ("notice", "No reason was given.")
    assert one.sentence == "A letter that differs in a few words was rejected on 20 November 2026, 10:42 UTC."


# places


def test_address_has_one_place_in_all_of_its_spellings():
    assert address_id("Dana@Northwind.example") == address_id(" dana@northwind.EXAMPLE ")
    assert address_id("dana@northwind.example") != address_id("dana@northwlnd.example")
    assert address_id('"><script>@x.example').replace("address-", "").isalnum()
