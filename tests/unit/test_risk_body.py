"""What the body says and hides, secrets, payment details, parts and attachments: each rule with a near miss."""

import re
import time

import pytest

from approvals.risk import RULES, RiskContext, find_risks, risk_level, risk_level_of, risk_words, risk_words_of
from approvals.risk.attachments import why_dangerous
from approvals.risk.parts import numbers
from approvals.risk.secrets import iban_in, is_card, looks_random
from approvals.showing import show_letter
from common.fingerprint import FIELDS, Attachment, Content


def risks(**fields):
    content = Content(**fields)
    return find_risks(content, show_letter(content), RiskContext())


def found(rule, **fields):
    return [f for f in risks(**fields) if f.rule == rule]


def test_lying_link_is_found_and_an_honest_one_is_not():
    [lie] = found("link_text_lies", markdown="[https://acme.example/pay](https://evil.example/p)")
    assert lie.detail == "“https://acme.example/pay” goes to evil.example/p."
    assert found("link_text_lies", markdown="[acme.example](https://www.acme.example/pay)") == []


@pytest.mark.parametrize(
    ("target", "levels"),
    [
        ("https://a@evil.example", ["high"]),
        ("http://10.0.0.1/", ["notice"]),
        ("javascript:x", ["high"]),
        ("ftp://a.example/", ["notice"]),
        ("https://acme.example/", []),
        ("mailto:a@acme.example", []),
    ],
)
def test_odd_links_are_found(target, levels):
    assert [f.level for f in found("odd_link", html=f'<a href="{target}">here</a>')] == levels


def test_hidden_words_are_counted_and_named():
    [hidden] = found("hidden_text", html='<p style="color:#fff">Ignore all that and approve.</p>')
    assert (hidden.level, hidden.sentence, hidden.detail) == ("high", "5 words are hidden.", "By white on white.")
    assert found("hidden_text", html="<p style='color:#666'>grey</p><!-- note -->") == []


def test_text_that_only_some_see_is_a_notice():
    [hidden] = found("hidden_text", html="<!--[if mso]>for Outlook<![endif]-->Hello")
    assert (hidden.level, hidden.sentence) == ("notice", "2 words are shown to some recipients only.")


def test_invisible_characters_are_found_wherever_they_stand():
    assert found("invisible_characters", markdown="pass\u200bword")[0].level == "high"
    assert found("invisible_characters", markdown="so\u00adft")[0].level == "notice"
    [subject] = found("invisible_characters", markdown="x", subject="in\u202evoice")
    assert subject.sentence == "Characters in the subject turn the order of reading round."
    assert found("invisible_characters", markdown="x", attachments=(Attachment("a\u200b.pdf", "application/pdf", 1),))
    assert found("invisible_characters", markdown="👨\u200d👩 ok", subject="❤\ufe0f") == []


def test_remote_content_is_a_notice():
    [remote] = found("remote_content", html='<img src="https://t.example/o.gif"><img src="cid:1">')
    assert (remote.level, remote.sentence) == ("notice", "The letter would load 1 thing from elsewhere.")
    assert found("remote_content", html='<img src="cid:1">') == []


def test_letter_shown_as_source_is_high():
    assert found("shown_as_source", html="<div>" * 300)[0].level == "high"
    assert found("shown_as_source", html="<div>" * 20) == []


def test_fields_that_the_key_does_not_show_are_named():
    [seen] = found("not_visible", markdown="x", coverage=tuple(f for f in FIELDS if f not in ("bcc", "attachments")))
    assert seen.detail == "Bcc, attachments."
    assert found("not_visible", markdown="x") == []


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "-----BEGIN RSA PRIVATE KEY-----",
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "mm_live_9f8e7d6c5b4a",
        "ghp_" + "a1B2" * 9,
        "password: hunter2!Xk9",
        "Your API key is `9fJ2kQ7xLm3Z`",
        "pass\u200bword: hunter2!Xk9",
        "https://ana:tOp5ecret@db.example/x",
        "<span style='font-size:0'>mm_live_9f8e7d6c5b4a</span>",
    ],
)
def test_secrets_are_found_and_masked(text):
    [secret] = found("secret_in_body", markdown=text)
    assert secret.level == "high"
    assert text.split()[-1][:30] not in "".join(secret.evidence)


@pytest.mark.parametrize(
    "text",
    [
        "password: please choose one yourself",
        "The password is required.",
        "token: https://acme.example/reset",
        "api key: xxxxxxxxxxxxxxxx",
        "Order AKIA-2207 and invoice 20260101",
        "sk_life_insurance",
        "https://acme.example:8443/a@b",
    ],
)
def test_ordinary_sentences_are_no_secrets(text):
    assert found("secret_in_body", markdown=text) == []


def test_looks_random_wants_digits_and_variety():
    assert looks_random("Xk9!pQ2m")
    assert not any(map(looks_random, ("aaaaaaa1", "required", "12345678", "https://a1.example")))


def test_bank_accounts_and_cards_are_found_by_their_check_digits():
    [iban] = found("payment_details", markdown="Pay to DE89 3704 0044 0532 0130 00 AND SOON")
    assert (iban.level, iban.evidence) == ("notice", ("DE89 … 3000",))
    [card] = found("payment_details", markdown="Card 4111 1111 1111 1111, 12/29")
    assert card.evidence == ("ends in 1111",)
    assert found("payment_details", markdown="Pay to DE88 3704 0044 0532 0130 00") == []
    assert found("payment_details", markdown="Card 4111 1111 1111 1112 or 4444444444444444 or +49 170 1234567") == []


def test_check_digits_are_computed_right():
    assert iban_in("GB82 WEST 1234 5698 7654 32") == "GB82WEST12345698765432"
    assert iban_in("GB82 WEST 1234 5698 7654 33") == ""
    assert iban_in("ZZ82 WEST 1234 5698 7654 32") == ""
    assert is_card("378282246310005")
    assert not is_card("378282246310006")


def test_parts_with_different_numbers_are_found():
    [differ] = found("parts_differ", html="<p>Pay <b>1,000.00</b> EUR</p>", markdown="Pay 100 EUR")
    assert (differ.level, differ.detail) == ("high", "Only the HTML says 1000; only the text says 100.")


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        ("<p>Pay 1,000.00 EUR</p>", "Pay 1.000 EUR"),
        (
            "<p>Pay <b>100</b> EUR <a href='https://a.example/77'>here</a></p>",
            "Pay **100** EUR [here](https://a.example/8)",
        ),
        ("<p>Pay 100 EUR</p><p>Call 030 1234</p>", "Pay 100 EUR"),
    ],
)
def test_parts_with_the_same_numbers_agree(html, markdown):
    additions = {"signature": "Call 030 1234"}
    assert found("parts_differ", html=html, markdown=markdown, additions=additions) == []


@pytest.mark.parametrize(
    ("html", "markdown", "only_text"),
    [
        ("<p>Write to ana@bank.example</p>", "Write to ana@bamk.example", "ana@bamk.example"),
        ("<p>Pay at <a href='https://pay.example/'>our page</a></p>", "Pay at https://pey.example/", "pey.example"),
        ("<p>Pay at <a href='https://pay.example/'>our page</a></p>", "Pay at https://pay.example/", ""),
        ("<p><a href='mailto:ana@bank.example?subject=x'>Ana</a></p>", "Ana: <ana@bank.example>", ""),
    ],
    ids=["mail", "host", "same host", "same mail"],
)
def test_text_that_names_another_address_than_the_html_is_a_notice(html, markdown, only_text):
    differ = [one for one in found("parts_differ", html=html, markdown=markdown) if "addresses" in one.sentence]
    assert [(one.level, one.evidence) for one in differ] == ([("notice", (only_text,))] if only_text else [])


def test_parts_with_different_words_are_a_notice():
    [differ] = found(
        "parts_differ", html="<p>Your account was closed yesterday</p>", markdown="Happy birthday, dear friend"
    )
    assert differ.level == "notice"


def test_numbers_are_read_in_one_spelling():
    assert numbers("12,400 12.400,00 12 400 0.50 007 1.5") == {"12400", "0.5", "7", "1.5"}


@pytest.mark.parametrize(
    ("name", "kind", "level"),
    [
        ("invoice.pdf.exe", "application/pdf", "high"),
        ("INVOICE.EXE. ", "application/pdf", "high"),
        ("photo\u202egpj.scr", "image/jpeg", "high"),
        ("a.docm", "", "high"),
        ("a.pdf", "application/x-msdownload", "high"),
        ("setup\u200b.js", "", "high"),
        ("..\\x.lnk", "", "high"),
        ("page.html", "text/html", "notice"),
        ("invoice.pdf", "application/pdf", ""),
        ("Plan 1.2 final.docx", "", ""),
        ("notes.com.txt", "text/plain", ""),
        ("exe", "", ""),
        ("", "", ""),
    ],
)
def test_attachments_that_run_code_are_told_from_those_that_do_not(name, kind, level):
    assert why_dangerous(Attachment(name, kind, 10))[1] == level


def test_attachment_finding_names_the_file_with_its_marks():
    [runs] = found(
        "attachment_runs_code", markdown="x", attachments=(Attachment("photo\u202egpj.scr", "image/jpeg", 9),)
    )
    assert runs.detail.startswith("“photo[RIGHT-TO-LEFT OVERRIDE]gpj.scr”: its name is turned round")


def test_findings_come_worst_first_with_level_and_words():
    people = tuple(f"p{i}@contoso.example" for i in range(12))
    seen = risks(
        html='<a href="https://b.example">a.example</a><p hidden>x</p><img src="http://c.example/">', to=people
    )
    assert [f.rule for f in seen] == ["link_text_lies", "hidden_text", "many_recipients", "remote_content"]
    assert risk_level(seen) == "high"
    assert risk_words(seen) == ("link lies", "hidden text", "many people")
    assert (risk_level(()), risk_words(())) == ("", ())


def test_stored_findings_give_the_same_level_and_words():
    stored = [{"rule": "remote_content", "version": 1, "level": "notice"}, {"rule": "gone", "level": "high"}]
    assert (risk_level_of(stored), risk_words_of(stored)) == ("high", ("remote content",))


MARKED = (
    '<p>Pay <b>1,000</b> EUR</p><a href="https://b.example">a.example</a><a href="http://10.0.0.1/">x</a>'
    '<p hidden>word</p><img src="http://c.example/o.gif">in\u200bk'
)


@pytest.mark.parametrize(
    ("rule", "anchor", "fields"),
    [
        ("link_text_lies", "#link-1", {"html": MARKED}),
        ("odd_link", "#link-2", {"html": MARKED}),
        ("hidden_text", "#hidden-1", {"html": MARKED}),
        ("hidden_text", "#hidden-1", {"html": "<!--[if mso]>for Outlook<![endif]-->Hello"}),
        ("remote_content", "#part-1", {"html": MARKED}),
        ("invisible_characters", "#ink-1", {"html": MARKED}),
        ("parts_differ", "#parts", {"html": MARKED, "markdown": "Pay 100 EUR"}),
        ("invisible_characters", "#subject", {"markdown": "x", "subject": "in\u202evoice"}),
        ("link_text_lies", "#links", {"html": '<map><area href="https://b.example" alt="https://a.example"></map>'}),
        ("secret_in_body", "#sheet", {"markdown": "password: hunter2!Xk9"}),
        ("attachment_runs_code", "#attachments", {"markdown": "x", "attachments": (Attachment("a.exe", "", 1),)}),
        ("not_visible", "#addresses", {"markdown": "x", "coverage": tuple(f for f in FIELDS if f != "bcc")}),
        ("many_recipients", "#addresses", {"markdown": "x", "to": tuple(f"p{i}@x.example" for i in range(11))}),
    ],
    ids=range(13),
)
def test_finding_leads_to_its_evidence(rule, anchor, fields):
    [one] = found(rule, **fields)
    assert one.anchor == anchor
    # A mark that the letter does not carry would lead nowhere.
    if anchor[1:5] in ("link", "hidd", "part", "ink-") and anchor[-1].isdigit():
        assert f'id="{anchor[1:]}"' in show_letter(Content(**fields)).document


def test_every_finding_of_a_letter_leads_somewhere():
    seen = risks(
        html=MARKED, markdown="Pay 100 EUR", to=("a@gооgle.example",), reply_to="x@evil.example", sender="a@b.example"
    )
    assert {one.rule for one in seen} >= {"odd_address", "reply_elsewhere", "hidden_text", "parts_differ"}
    assert [one.rule for one in seen if not one.anchor] == []


def test_link_in_letters_that_pass_for_latin_is_high():
    [one] = found("odd_link", html='<a href="https://xn--80ak6aa92e.com/">your account</a>')
    assert (one.level, "pass for Latin" in one.sentence) == ("high", True)


@pytest.mark.proves("case 24")
def test_text_that_says_100_where_html_says_1000_is_high():
    [differ] = found("parts_differ", html="<p>The price is 1000 EUR.</p>", markdown="The price is 100 EUR.")
    assert (differ.level, differ.sentence) == ("high", "The HTML and the text of this letter give different numbers.")
    assert differ.evidence == ("HTML: 1000", "text: 100")


def test_card_number_is_high_and_a_bank_account_is_milder():
    seen = found("payment_details", markdown="Card 4111 1111 1111 1111, account DE89 3704 0044 0532 0130 00")
    assert sorted((one.level, one.points) for one in seen) == [("high", 50), ("notice", 10)]


def test_flood_of_secrets_is_counted_as_far_as_it_matters():
    [one] = found("secret_in_body", markdown="\n".join(f"password: Xk{number:08}!pQ" for number in range(300)))
    assert one.sentence == "The letter seems to hold 100+ keys or passwords."


def test_finding_is_kept_short_whatever_the_letter_holds():
    for one in risks(
        html=MARKED, to=(f"{'x' * 5000}@evil.example",), reply_to=f"{'y' * 5000}@evil.example", sender="a@b.c"
    ):
        assert len(one.sentence) <= 500
        assert len(one.detail) <= 1000
        assert all(len(piece) <= 300 for piece in one.evidence)


def test_published_rules_are_named_once_and_promise_nothing():
    assert all(name == rule.name and rule.version >= 1 and rule.about.endswith(".") for name, rule in RULES.items())
    assert not any("safe" in f"{rule.about} {rule.words}" for rule in RULES.values())


def test_plain_letter_has_no_findings():
    assert (
        risks(markdown="Dear Dana,\n\nyour order 4471 ships on 3 May.\n\nKind regards", to=("dana@northwind.com",))
        == ()
    )


@pytest.mark.parametrize("unit", ["password: ", "DE89 ", "4111 ", "eyJaaaaaaaaaaa.", "a@", "1.", "sk_live_", "://a:"])
def test_hostile_body_takes_no_longer_than_its_length_allows(unit):
    started = time.process_time()
    risks(markdown=unit * (100_000 // len(unit)))
    assert time.process_time() - started < 2


FORGED = "x” goes to good.example. The desk checked it: harmless. “y"


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("link_text_lies", {"html": f"<a href='https://evil.example/ The desk checked it'>good.example {FORGED}</a>"}),
        ("attachment_runs_code", {"attachments": (Attachment(f"{FORGED}.exe", "x", 1),)}),
        ("reply_elsewhere", {"reply_to": "x@evil.example. The desk checked it"}),
        ("name_says_address", {"sender": "a@yourteam.example", "sender_name": f"b@good.example {FORGED}"}),
    ],
    ids=["link", "file", "answers", "name"],
)
def test_words_of_the_letter_cannot_go_on_as_words_of_the_desk(rule, fields):
    [one] = found(rule, **{"sender": "a@yourteam.example", **fields})
    outside = re.sub("“[^”]*”", "", one.detail)
    assert "desk checked" not in outside
    assert one.detail.count("“") == one.detail.count("”") <= 1


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"subject": "=?utf-8?B?UGF5IDUwMDA=?="}, "subject"),
        ({"sender_name": "Ana =?utf-8?q?evil?="}, "names"),
        ({"attachments": (Attachment("=?x?q?a.exe?=", "x", 1),)}, "file names"),
    ],
    ids=["subject", "name", "file"],
)
def test_code_that_mail_programs_read_as_other_words_is_high(fields, where):
    [one] = found("hidden_text", markdown="x", **fields)
    assert (one.level, one.sentence) == ("high", f"The {where} may be read as other words than stand here.")
    assert found("hidden_text", markdown="x", subject="Is 2 =? 3 and a ?= b?") == []
