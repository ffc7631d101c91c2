"""The demo's letters: nobody real is written to, and the risky ones are as risky as they claim."""

from datetime import UTC, datetime, timedelta

import pytest

from demo.agent import Account, compose_current, compose_flat
from demo.letters import LETTERS, OPENING
from demo.letters.files import INVOICE_PDF
from demo.letters.letter import Letter, blanks, fill_in

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ACCOUNT = Account("http://gateway.test", "key", "mb/1", "support@yourteam.example", "mb2", "outreach@yourteam.example")
RESERVED = (".example", ".test", "@example.com")


def by_name(name: str) -> Letter:
    return next(letter for letter in LETTERS if letter.name == name)


@pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: letter.name)
def test_every_letter_fills_its_blanks_and_writes_to_reserved_domains_only(letter: Letter) -> None:
    values = blanks(3, NOW)
    for text in (letter.subject, letter.body, letter.why):
        assert fill_in(text, values).strip()
    assert all(address.endswith(RESERVED) for address in (*letter.to, *letter.cc, *letter.bcc))


def test_letters_are_many_and_have_names_of_their_own() -> None:
    names = [letter.name for letter in LETTERS]
    assert len(set(names)) == len(names) >= 24
    assert len([letter for letter in OPENING if not letter.unasked]) == 11


def test_the_true_customer_is_written_to_before_the_look_alike() -> None:
    recipients = [letter.to[0] for letter in OPENING]
    assert recipients.index("billing@acme-corp.example") < recipients.index("billing@acrne-corp.example")


def test_the_look_alike_has_hidden_words_a_lying_link_and_a_remote_picture() -> None:
    body = by_name("look-alike").body
    assert "[https://acme-corp.example/pay](https://acrne-corp.example/" in body
    assert "color:#ffffff;background-color:#ffffff" in body
    assert "![](https://track." in body


def test_the_same_letter_differs_between_rounds() -> None:
    subject = by_name("invoice").subject
    assert fill_in(subject, blanks(0, NOW)) != fill_in(subject, blanks(len(LETTERS), NOW))


def test_meetings_are_never_proposed_for_a_weekend() -> None:
    for day in range(14):
        values = blanks(day, NOW + timedelta(days=day))
        assert values["weekday"] in ("Monday", "Tuesday", "Wednesday", "Thursday")


def test_the_current_dialect_carries_files_and_one_key_a_letter() -> None:
    path, payload = compose_current(ACCOUNT, by_name("invoice"), 0, "ab12", NOW)
    assert path == "/v1/mailboxes/mb%2F1/send"
    assert payload["attachments"][0]["name"] == "invoice.pdf"
    assert payload["idempotency_key"] == "demo-ab12-0"
    assert INVOICE_PDF.startswith(b"%PDF-")


def test_the_flat_call_says_who_asked_in_discord() -> None:
    path, payload = compose_flat(ACCOUNT, by_name("look-alike"), 3, "ab12", NOW)
    assert path == "/v1/send_email"
    assert payload["from"] == "support@yourteam.example"
    assert payload["bcc"] == ["archive@yourteam.example"]
    assert set(payload["metadata"]) == {
        "discord_user",
        "discord_user_id",
        "discord_channel",
        "discord_guild",
        "discord_interaction_id",
    }


def test_the_lying_pdf_is_a_page_and_the_label_a_picture() -> None:
    [statement] = by_name("lying-pdf").attachments
    assert (statement.name, statement.content_type) == ("statement.pdf", "application/pdf")
    assert statement.content.startswith(b"<!doctype html>")
    label, _ = by_name("return-label").attachments
    assert label.content.startswith(b"\x89PNG\r\n\x1a\n")
