"""Whom a message greets, names and answers to: greetings, lying names, odd letters,
Reply-To, allowlist, repeats.
"""

from common.fingerprint import Content
from rendering.render import render_message
from risk import find_risks
from risk.check_greeting import greeting_of, is_one_name, spellings
from risk.findings import Rejected, RiskContext, address_anchor, address_id

KNOWN = RiskContext(
    own_domains=("yourteam.example",),
    known_addresses={"billing@acme-corp.example": 31, "ivo@münchen.example": 2},
)


def found(rule, context=KNOWN, **fields):
    content = Content(
        **{"sender": "support@yourteam.example", "markdown": "Hello", **fields}
    )
    return [
        one
        for one in find_risks(content, render_message(content), context)
        if one.rule == rule
    ]


def levels(rule, **fields):
    return [one.level for one in found(rule, **fields)]


# greetings

# The names in a greeting, and the lines that greet so.
GREETINGS = {
    "Anna": [
        "Dear Anna,", "Hello **Anna**,", "hi Anna!", "Dear Anna - a quick question", "Dear Anna, Bob and everybody,",
    ],
    "Smith": ["Dear Ms. Smith,"],
    "Anna Smith": ["Dear Dr Anna Smith:"],
    "Müller": ["Sehr geehrte Frau Dr. Müller,"],
    "Änne": ["Liebe Änne,"],
    "Amélie": ["Chère Amélie,"],
    "García": ["Estimado señor García:"],
    "Marco": ["Caro Marco,"],
    "João": ["Olá João,"],
    "Sanne": ["Beste Sanne,"],
    "Åsa": ["Hej Åsa,"],
    "Nowak": ["Szanowna Pani Nowak,"],
    "Анна": ["Уважаемая Анна,"],
    "": [
        "Gentile Dott.ssa Rossi", "Dear all,", "Dear Sir or Madam,", "Sehr geehrte Damen und Herren,", "Hello there,",
        "Dear", "Hello Anna is not here today", "Highway 5 is closed", "My dearest wish is peace",
    ],
}  # fmt: skip


def test_greeting_is_read_in_many_languages_at_the_beginning_only():
    for names, lines in GREETINGS.items():
        read = {
            one: greeting_of(
                f"\n\n{one}\n\nThe letter goes on, Dear Zoe, much later."
            ).words
            for one in lines
        }
        assert read == dict.fromkeys(lines, tuple(names.split()))
    assert greeting_of("line\n" * 20 + "Dear Anna,").words == ()


# Greetings, and the addresses to which such a message goes by mistake, and to which it
# goes rightly or may.
WRONG = {
    "Dear Anna,": [
        "bob@northwind.example",
        "Bob Jones <x91@northwind.example>",
        "bob.jones@northwind.example",
    ],
    "Dear Anna Smith,": ["bob.jones@northwind.example"],
    "Sehr geehrte Frau Müller,": ["anna.schmidt@northwind.example"],
    "Liebe Anna,": ["boris@northwind.example"],
    "Уважаемая Анна,": ["boris@northwind.example"],
    "Cher Pierre,": ["marie.dupont@northwind.example"],
    "Dear Mark,": ["maria@northwind.example"],
}
RIGHT = {
    "Dear Anna,": [
        "anna@northwind.example", "anne@northwind.example", "a.smith@northwind.example", "asmith@northwind.example",
        "schmidt.anna@northwind.example", "Anna Smith <bob@northwind.example>", "info@northwind.example",
        "bob.sales@northwind.example", "northwind@contoso.example", "xq77@northwind.example",
    ],
    "Dear Bob,": ["robert@northwind.example"],
    "Dear Bill,": ["william.h@northwind.example"],
    "Dear Alex,": ["alexandra@northwind.example"],
    "Dear Sasha,": ["alexander@northwind.example"],
    "Dear Jürgen,": ["juergen@northwind.example"],
    "Dear Ms Smith,": ["bob@northwind.example", "Northwind Traders <nt@northwind.example>"],
    "Dear Mr Jones,": ["Bob Jones <b@northwind.example>"],
    "Sehr geehrter Herr Müller,": ["j.mueller@northwind.example"],
    "Dear Northwind,": ["bob@northwind.example"],
    "Dear Acme Support,": ["bob@northwind.example"],
    "Dear customer,": ["bob@northwind.example"],
    "Dear all,": ["bob@northwind.example"],
    "Уважаемый Борис,": ["boris@northwind.example"],
    "Dear Xyzzy,": ["bob@northwind.example"],
}  # fmt: skip


def greets_another(line, *to, **fields):
    return found("greeting_differs", markdown=f"{line}\n\nhere it is.", to=to, **fields)


def test_message_that_greets_another_is_found():
    for line, to in (
        (line, to) for line, addresses in WRONG.items() for to in addresses
    ):
        [one] = greets_another(line, to)
        assert (one.level, one.anchor, one.points) == ("notice", "#sheet", 30), (
            line,
            to,
        )
        assert line in one.detail
        assert to.rpartition("<")[2].rstrip(">") in one.detail


def test_greeting_that_may_be_right_is_left_in_peace():
    assert [
        (line, to)
        for line, addresses in RIGHT.items()
        for to in addresses
        if greets_another(line, to)
    ] == []


def test_greeting_is_compared_as_it_shows_with_everybody_who_gets_the_message():
    assert greets_another("Dear Anna,", "bob@northwind.example")
    assert (
        greets_another(
            "Dear Anna,", "bob@northwind.example", cc=("anna@northwind.example",)
        )
        == []
    )
    crowd = [
        f"{name}@northwind.example"
        for name in ("bob", "eva", "tom", "max", "ida", "udo")
    ]
    assert greets_another("Dear Anna,", *crowd) == []
    html = "<table><tr><td><p>Dear <b>Anna</b>,</p><p>here it is.</p></td></tr></table>"
    assert found("greeting_differs", html=html, to=("bob@northwind.example",))


def test_names_are_one_in_their_other_spellings():
    assert spellings("Müller") == ("muller", "mueller")
    assert all(
        is_one_name(*pair)
        for pair in (
            ("jo", "j"),
            ("anna", "hannah"),
            ("rob", "bobby"),
            ("tom", "thomas"),
        )
    )
    assert not any(
        is_one_name(*pair)
        for pair in (("anna", "bob"), ("mark", "maria"), ("tim", "tina"))
    )


# names that lie


def test_name_that_is_another_address_is_found():
    billing = "billing@acme-corp.example"
    expected = {
        billing: ["high"],
        "Billing (billing＠acme-corp.example)": ["high"],
        f"bill\u200b{billing[4:]}": ["high"],
    }
    expected |= {
        "ana@yourteam.example": ["notice"],
        "acme-corp.com billing": ["notice"],
        "me @ home": [],
    }
    expected |= {"Support <support@YOURTEAM.example>": [], "yourteam.example": []}
    expected |= {"Node.js, Dr. Smith & Co. (v1.2)": []}
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
    # The finding names both, and leads to the address.
    [one] = found("name_says_address", to=("ana@yourteam.example <x@evil.example>",))
    assert one.level == "high"
    assert one.anchor == address_anchor("x@evil.example")
    assert (
        one.detail
        == "The name is “ana@yourteam.example”; the address is x@evil.example."
    )


# letters that mislead


def test_address_in_letters_that_mislead_is_found():
    for address, level, words in (
        ("a@gооgle.example", "high", "mixes letters of different scripts"),
        ("billіng@northwind.example", "high", "name before the @ mixes"),
        ("a@xn--80ak6aa92e.com", "high", "letters that look like Latin ones"),
        (
            "раура@northwind.example",
            "high",
            "name before the @ is written in letters that look",
        ),
        ("a@bücher.example", "notice", "non-Latin letters"),
        ("a@xn--bcher-kva.example", "notice", "non-Latin letters"),
    ):
        [one] = found("odd_address", to=(address,))
        assert one.level == level, address
        assert words in one.sentence, address
        if "@b" in address or "xn--" in address:
            assert "which is looked up as xn--" in one.detail


def test_address_that_leads_elsewhere_by_its_form_is_found_also_where_it_is_known():
    sent_on = "% or ! before the @"
    number = "a number instead of a domain"
    single = "a single name instead"
    run = "for a command, an option or a file"
    expected = {
        **dict.fromkeys(
            (
                "-oQ@northwind.example",
                "|cmd@x.example",
                "Ana <a`id`@x.example>",
                "/a@x.example",
            ),
            run,
        ),
        **dict.fromkeys(
            ("a%b@northwind.example", "northwind.example!a@yourteam.example"), sent_on
        ),
        **dict.fromkeys(
            (
                "a@[127.0.0.1]",
                "a@[IPv6:::1]",
                "a@10.0.0.1",
                "a@2130706433",
                "a@127.0x1",
            ),
            number,
        ),
        **dict.fromkeys(("Ana <a@localhost>", "root@relay"), single),
    }
    for address, words in expected.items():
        bare = address.rpartition("<")[2].rstrip(">")
        [one] = found(
            "odd_address", RiskContext(known_addresses={bare: 3}), to=(address,)
        )
        assert one.level == "high", address
        assert one.anchor == address_anchor(bare), address
        assert words in one.sentence, address
    [one] = found("odd_address", reply_to="a%b@yourteam.example")
    assert one.sentence.startswith("A Reply-To's address has % or !")


def test_known_and_plain_addresses_are_not_odd():
    plain = [
        "ivo@münchen.example",
        "a@northwind.example",
        "a+b@3com.example",
        "a@x_y.example",
        "a@1und1.example.",
    ]
    assert [address for address in plain if found("odd_address", to=(address,))] == []
    # Another script as a whole deceives nobody who reads it.
    foreign = ["jörg@northwind.example", "田中@例え.example"]
    assert [
        address for address in foreign if "high" in levels("odd_address", to=(address,))
    ] == []


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
    # Answers to a neighbour of the sender go nowhere else.
    message = {"sender": "news@shop.example", "reply_to": "help@mail.shop.example"}
    assert found("reply_elsewhere", RiskContext(), **message) == []
    assert found(
        "reply_elsewhere",
        RiskContext(),
        **{**message, "reply_to": "help@shop.evil.example"},
    )


def test_look_alike_in_reply_to_is_found_too():
    [one] = found("lookalike_recipient", reply_to="billing@acrne-corp.example")
    assert one.sentence == "A Reply-To's domain looks almost like one you write to."


# the allowlist


def test_recipients_off_the_allowlist_are_found_and_called_milder_while_the_list_watches():
    assert found("off_allowlist", to=("x@evil.example",)) == []
    eve = "Eve <eve@northwind.example>"
    [one] = found(
        "off_allowlist", RiskContext(off_list=(eve,)), to=("a@acme.example", eve)
    )
    assert one.level == "high"
    assert one.detail == "eve@northwind.example."
    assert one.anchor == address_anchor("eve@northwind.example")
    [watched] = found("off_allowlist", RiskContext(watched=(eve,)), to=(eve,))
    assert watched.level == "notice"
    [two] = found(
        "off_allowlist",
        RiskContext(off_list=(eve, "bo@evil.io")),
        to=(eve, "bo@evil.io"),
    )
    assert (
        two.sentence
        == "2 recipients were on no allowlist when the message was checked."
    )


# what was rejected before


def rejected_before(**before):
    fields = {
        "by": "Ana",
        "at": "20 November 2026, 10:42 UTC",
        "reason": "Wrong account",
        **before,
    }
    [one] = found("rejected_before", RiskContext(rejected=Rejected("0193", **fields)))
    return one


def test_repeated_message_names_who_when_and_why():
    one = rejected_before()
    assert (
        one.sentence
        == "A message with the same text was rejected by Ana on 20 November 2026, 10:42 UTC."
    )
    assert one.level == "high"
    assert one.detail == "“Wrong account”"
    assert one.evidence == ("0193",)
    # One of another mailbox names nobody.
    other = str(rejected_before(reason="Secret", in_same_mailbox=False))
    assert not any(word in other for word in ("Ana", "Secret", "0193"))


def test_message_that_is_nearly_the_same_is_milder():
    one = rejected_before(by="", reason="", is_same=False)
    assert one.level == "notice"
    assert one.detail == "No reason was given."
    assert (
        one.sentence
        == "A message with a few different words was rejected on 20 November 2026, 10:42 UTC."
    )


# places


def test_address_has_one_anchor_in_all_of_its_spellings():
    assert address_id("Dana@Northwind.example") == address_id(
        " dana@northwind.EXAMPLE "
    )
    assert address_id("dana@northwind.example") != address_id("dana@northwlnd.example")
    assert address_id('"><script>@x.example').replace("address-", "").isalnum()
