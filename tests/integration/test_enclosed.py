"""Attachments: fetched in the background, recognised by their bytes, shown safely or
refused, never as a page.
"""

import hashlib
import io
import struct
from dataclasses import asdict
from datetime import timedelta
from html import unescape
from urllib.parse import quote

import pytest
from django.db.models.functions import Now
from django.template.loader import render_to_string
from PIL import ExifTags, Image

from approvals.decisions.by_rule import apply_policy
from approvals.decisions.execute import run_decision
from approvals.errors import RiskUnread, VerdictNotAllowed
from approvals.models import Verdict
from audit.models import Entry
from common.time_zones import somebodys_time
from mirror.attachments import fetch, parsed
from mirror.attachments.file_types import SENTENCES
from mirror.attachments.parsed import detect_file
from mirror.attachments.preview import FilePreview, document_of, pdf_pages
from mirror.models import AttachedFile, Connection, Message
from mirror.sync import retention
from mirror.tasks import fetch_file
from rendering.texts import words_of
from tests import office_files
from tests.factories import (
    change_row,
    make_message,
    put_in_force,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decide, make_due
from tests.ledger import latest_details
from tests.markup import HTMX, compact
from tests.markup import words_of as page_words
from tests.office_files import INVOICE_PDF, zip_of
from tests.variants import variants

PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
)
SCRIPT = b"<script>alert(1)</script>"


def attachment(name, content, content_type="text/plain"):
    return {
        "name": name, "content_type": content_type, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()
    }  # fmt: skip


def path_of(message, name):
    return f"/v1/oversight/pending/{message.upstream_id}/attachments/{quote(name, safe='')}"


@pytest.fixture
def gateway(connection, upstream):
    change_row(connection, api_url=upstream.url)
    connection.refresh_from_db()
    upstream.answers["/v1/account"] = (200, {"scopes": ["oversight"]})
    return connection


@pytest.fixture
def enclose(gateway, upstream):
    """Return a function that makes a held message with these files (name, content,
    type), fetched by default.
    """

    def make(*files, fetched=True):
        message = make_message(
            gateway, attachments=[attachment(*file) for file in files]
        )
        for name, content, *_ in files:
            upstream.answers[path_of(message, name)] = (200, content)
        if fetched:
            fetch_all(message)
        message.refresh_from_db()
        return message

    return make


def fetch_all(message):
    return [
        fetch_file(pk)
        for pk in message.files.order_by("pk").values_list("pk", flat=True)
    ]


def view(client, message, number=1, rest="", **headers):
    return client.get(
        f"/queue/{message.public_id}/files/{number}/{rest}", headers=headers
    )


def panel(client, message):
    return client.get(f"/queue/{message.public_id}/files/", headers=HTMX).text.replace(
        "<wbr>", ""
    )


def unread(client, message):
    return client.get(f"/queue/{message.public_id}/unread/").text


def of_bytes(content):
    """A file that was fetched, in memory only."""
    seen = detect_file(content, name="file", content_type="")
    return AttachedFile(
        name="file",
        content=content,
        found_size=len(content),
        found_sha256=hashlib.sha256(content).hexdigest(),
        kind=seen.kind,
        seen=asdict(seen),
        state="fetched",
        place=1,
    )


def test_file_is_fetched_once_shown_with_claimed_type_kind_and_hash_and_its_opening_recorded(
    desk, upstream, enclose, reviewer
):
    message = enclose(("pixel.png", PIXEL, "image/gif"), ("b.txt", b"b"))
    file = message.files.get(name="pixel.png")
    digest = hashlib.sha256(PIXEL).hexdigest()
    assert bytes(file.content) == PIXEL
    assert file.found_sha256 == digest
    assert file.differs is False
    assert upstream.keys[-1] == "mm_live_oversight"
    calls = len(upstream.calls)
    assert set(fetch_all(message)) == {"not due"}
    assert len(upstream.calls) == calls

    # A prefetch does not count as opening.
    view(desk, message, **{"Sec-Purpose": "prefetch"})
    desk.head(f"/queue/{message.public_id}/files/1/")
    assert "2 parts unread" in page_words(unread(desk, message))
    for rest in ("", "", "download/"):
        view(desk, message, rest=rest)
    seen, copied = Entry.objects.filter(action="attachment.served").oldest_first()
    assert seen.actor_id == str(reviewer.pk)
    assert seen.detail.fields["how"] == "looked at"
    assert copied.detail.fields["how"] == "downloaded"
    assert seen.detail.fields["sha256"] == digest
    page = panel(desk, message)
    for words in (digest, "<bdi>image/gif", "PNG picture, 1 × 1 pixels"):
        assert words in page, words

    # What it is declared as is not what it is.
    read = {"risky_attachment"}
    result = decide(message, reviewer, risk_read=read)
    assert result.verdict.parts_unread == 1
    assert latest_details("verdict.given")["parts_unread"] == "b.txt"


ANSWERS = [
    ("gone", (404, {"error": "none"}), "gone", "no longer has it (404)"),
    (
        "scope",
        (403, {"error": "This key lacks the scope."}),
        "not_visible",
        "Not visible with this key",
    ),
    ("redirect", (302, b""), "failing", "could not be fetched yet"),
    ("well", (200, b"well"), "fetched", "as in the fingerprint"),
    ("throttled", (429, {"error": "slow down"}), "failing", "could not be fetched yet"),
]


@pytest.mark.slow
def test_missing_file_says_why_can_be_retried_and_does_not_block_others(
    desk, gateway, upstream, enclose
):
    message = enclose(*((name, name.encode()) for name, *_ in ANSWERS), fetched=False)
    for name, answer, *_ in ANSWERS:
        upstream.answers[path_of(message, name)] = answer
    upstream.headers["Retry-After"] = "40"
    assert fetch_all(message) == [state for _, _, state, _ in ANSWERS]
    # The whole connection waits after 429.
    gateway.refresh_from_db()
    assert gateway.wait_until is not None
    sections = panel(desk, message).split('id="file-')[1:]
    for (name, _, _, words), section in zip(ANSWERS, sections, strict=True):
        assert words in section, name
    assert set(fetch_all(message)) == {"not due"}
    AttachedFile.objects.update(not_before=Now())
    Connection.objects.update(wait_until=None)
    for name, *_ in ANSWERS:
        upstream.answers[path_of(message, name)] = (200, name.encode())
    again = ["fetched", "fetched", "fetched", "not due", "fetched"]
    assert fetch_all(message) == again


def test_bytes_that_differ_from_the_fingerprint_are_shown_and_cannot_be_approved(
    desk, upstream, enclose, reviewer
):
    message = enclose(("a.txt", b"as said"), fetched=False)
    upstream.answers[path_of(message, "a.txt")] = (200, b"other!!")
    with rolled_back():
        # Approved before the bytes arrived: refused when it is carried out.
        result = decide(message, reviewer)
        fetch_all(message)
        make_due()
        assert run_decision(decision_id=result.decision.pk) == "refused"
        assert upstream.decisions == []
    fetch_all(message)
    page = panel(desk, message)
    assert "This is not the file that would be sent." in page
    for content in (b"other!!", b"as said"):
        assert hashlib.sha256(content).hexdigest() in page
    assert Entry.objects.filter(action="message.file_differs").count() == 1
    with pytest.raises(VerdictNotAllowed, match=r"fingerprint \(a\.txt\)"):
        decide(message, reviewer)
    assert Verdict.objects.count() == 0
    decide(message, reviewer, "reject", "Not what it says")


@pytest.mark.parametrize(
    "file",
    [
        ("report.pdf", PIXEL, "application/pdf"),
        ("report.pdf", b"%PDF-1.4 /JavaScript", "application/pdf"),
        ("mine.txt", b"-----BEGIN RSA PRIVATE KEY-----\n", "text/plain"),
        ("a.zip", zip_of("../a.txt"), "application/zip"),
    ],
)
def test_file_of_high_risk_is_a_finding_in_row_filter_policy_and_button(
    desk, enclose, reviewer, file
):
    message = enclose(file)
    assert message.review.risk_level == "high"
    assert "risky_attachment" in message.review.rules
    assert str(message.public_id) in desk.get("/queue/?risk=high").text
    page = desk.get(f"/queue/{message.public_id}/").text
    assert "An attachment is not what it says, or cannot be checked." in page
    assert "Approve with" in page
    with pytest.raises(RiskUnread):
        decide(message, reviewer)


@pytest.mark.slow
def test_oversized_files_are_not_stored_and_other_oddities_are_named(
    desk, upstream, enclose, reviewer, monkeypatch
):
    monkeypatch.setattr(fetch, "MAX_BYTES", 1000)
    sizes = {"announced": 2000, "hidden": 2000, "at-limit": 1000, "size": 3}
    message = enclose(
        *((name, bytes(size)) for name, size in sizes.items()), fetched=False
    )
    AttachedFile.objects.filter(name="hidden").update(size=10)
    # Without a hash only the size can differ, and that does not block a decision.
    AttachedFile.objects.filter(name="size").update(sha256="", size=99)
    assert fetch_all(message) == ["too_large", "too_large", "fetched", "fetched"]
    assert AttachedFile.objects.filter(content=None).count() == 2
    assert path_of(message, "announced") not in upstream.paths
    page = panel(desk, message)
    assert page.count("larger than this desk fetches") == 2
    assert "3 bytes instead of 99" in page
    result = decide(message, reviewer, risk_read={"risky_attachment"})
    assert result.decision.outcome == "approve"


MZ = b"MZ\x90\x00"


@pytest.mark.parametrize(
    ("kind", "file"),
    variants([
        ("document", ("notes.txt", INVOICE_PDF, "text/plain")),
        ("image", ("a.txt", PIXEL)),
        ("program", ("invoice.txt", MZ)),
        ("program", ("invoice.dat", MZ, "application/octet-stream")),
        ("program", ("setup.exe:a.txt", b"x")),
        ("program", ("setup.exe. .\t", b"x")),
        ("program", ("invoice_\u202efdp.scr", b"x")),
        ("program", ("invoice.pdf", b"\n#!/bin/sh\nrm -rf x", "application/pdf")),
        ("program", ("photos.zip", zip_of("holiday.jpg", "run.js"), "application/zip")),
        ("program", ("a.docx", zip_of("[Content_Types].xml", "word/vbaProject.bin"))),
        ("pdf", ("photos.zip", zip_of("invoice.pdf"))),
    ], 4),
)  # fmt: skip
def test_rules_know_what_a_file_is_by_name_type_and_bytes(
    enclose, reviewer, kind, file
):
    when = {"attachments": [kind]}
    put_in_force({"when": when, "then": {"reject": "Not by mail."}})
    if kind == "program":
        when = {"findings": ["attachment_runs_code"]}
        put_in_force({"when": when, "then": {"reject": "Not by mail."}})
    message = enclose(("b.txt", b"calm"), file)
    with pytest.raises(VerdictNotAllowed, match="Not by mail"):
        decide(message, reviewer)
    assert apply_policy() == 1
    assert message.decisions.get().rule.startswith("policy")
    if kind == "program":
        assert message.review.risk_level == "high"


def test_file_that_is_not_read_may_be_anything_and_is_not_rejected_for_it(
    enclose, upstream, desk, reviewer
):
    for when in (
        {"attachments": ["program"]},
        {"findings": ["attachment_runs_code"]},
        {"findings": ["risky_attachment"]},
        {"high_risk": True},
    ):
        put_in_force({"when": when, "then": {"reject": "Not by mail."}})
        with rolled_back():
            files = [("a.txt", b"calm"), ("b.txt", b"calm")]
            message = enclose(*files, fetched=False)
            fetch_file(message.files.first().pk)
            assert apply_policy() == 1
            assert not message.decisions.exists()
            with pytest.raises(VerdictNotAllowed, match="Not by mail"):
                decide(message, reviewer)
            page = desk.get(f"/queue/{message.public_id}/").text
            why = "of “b.txt”" if "findings" in when else "(“b.txt”)"
            assert why in page
            fetch_all(message)
            # The same content, read once more.
            show_row(message, attachments=[attachment(*one) for one in files])
            assert apply_policy() == 1
            assert decide(message, reviewer).decision.outcome == "approve"


def test_sums_in_the_words_of_a_calendar_and_in_names_within_an_archive_count(
    enclose, reviewer
):
    put_in_force({"when": {"amount": "1000"}, "then": {"approvals": {"0": 2}}})
    event = CALENDAR.replace("SUMMARY:", "DESCRIPTION:Pay 50\n 00 EUR\nSUMMARY:")
    for file in (
        ("a.ics", event.encode(), "text/calendar"),
        ("a.zip", zip_of("5000 EUR.txt"), "application/zip"),
    ):
        assert decide(enclose(file), reviewer).decision is None
    message = enclose(("b.ics", CALENDAR.encode(), "text/calendar"))
    assert decide(message, reviewer).decision is not None


def test_links_of_a_calendar_are_in_doubt_until_it_is_read(enclose, reviewer):
    put_in_force({"when": {"has_link": True}, "then": {"approvals": {"0": 2}}})
    link = CALENDAR.replace("Room 2", "https://rooms.example/2")
    message = enclose(("a.ics", link.encode(), "text/calendar"))
    assert decide(message, reviewer).decision is None
    message = enclose(("b.ics", CALENDAR.encode(), "text/calendar"))
    assert decide(message, reviewer).decision is not None


def test_sum_of_a_file_is_told_where_it_is_the_larger_one(enclose, reviewer):
    put_in_force({"when": {"amount": "1"}, "then": {"reject": "No money."}})
    files = zip_of("5000 EUR.txt")
    message = enclose(("20 EUR.txt", b"calm"), ("a.zip", files, "application/zip"))
    with pytest.raises(VerdictNotAllowed, match="because of “5000 EUR”"):
        decide(message, reviewer)


def check_frame(answer):
    policy = answer["Content-Security-Policy"]
    assert {"sandbox", "default-src 'none'", "img-src data:"} <= {
        part.strip() for part in policy.split(";")
    }
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"


def test_file_is_downloaded_as_a_file_and_never_as_a_page(desk, enclose):
    files = [
        ("page.html", b"<html>" + SCRIPT, "text/html"),
        (
            "drawing.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg'>" + SCRIPT + b"</svg>",
            "image/svg+xml",
        ),
        ("invoice_\u202efdp\u200b.exe", b"MZ", "application/pdf"),
    ]
    message = enclose(*files)
    for number, (name, content, _) in enumerate(files, start=1):
        answer = view(desk, message, number, "download/")
        plain = name.replace("\u202e", "").replace("\u200b", "")
        assert answer.status_code == 200, plain
        assert answer.content == content, plain
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Content-Disposition"] == f'attachment; filename="{plain}"'
        check_frame(answer)
    # What a name hides is not shown; that it is flagged:
    # tests/unit/test_attachment_detection.py.
    assert not {"\u202e", "\u200b"} & set(panel(desk, message))


def test_text_is_shown_as_escaped_text_with_invisible_characters_named(desk, enclose):
    message = enclose(
        ("notes.txt", b"One line\nand \xe2\x80\xae another " + SCRIPT),
        ('a"><b>.png', PIXEL),
    )
    answer = view(desk, message)
    check_frame(answer)
    assert "RIGHT-TO-LEFT OVERRIDE" in answer.text
    svg = document_of(of_bytes(b"<svg xmlns='x'>" + SCRIPT + b"</svg>")).html
    page = document_of(of_bytes(b"<html><img src=https://evil.example/x>" + SCRIPT))
    for shown in (answer.text, svg, page.html):
        assert not [one for one in ("<script>", "<img", "\u202e") if one in shown]
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    # A picture is embedded in a document that may load nothing.
    answer = view(desk, message, 2)
    check_frame(answer)
    assert (
        b'<img alt="a&quot;&gt;&lt;b&gt;.png" src="data:image/png;base64,'
        in answer.content
    )


CALENDAR = """\
BEGIN:VCALENDAR
METHOD:REQUEST
BEGIN:VTIMEZONE
TZID:Ours
BEGIN:STANDARD
DTSTART:16010101T000000
TZOFFSETFROM:-0300
TZOFFSETTO:-0300
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
SUMMARY:Kick-off\\, with cake
DTSTART;TZID=Europe/Berlin:20260710T140000
DURATION:PT1H
RRULE:FREQ=WEEKLY;COUNT=4
LOCATION:Room 2
ORGANIZER;CN="Dana, Sales":mailto:dana@northwind.example
ATTENDEE;PARTSTAT=DECLINED:MAILTO:bob@bob.example
ATTENDEE:mailto:eve@eve.example
END:VEVENT
END:VCALENDAR
"""
HOUR = ":20260710T140000"


def test_calendar_is_shown_as_an_invitation_in_the_readers_zone():
    file = of_bytes(CALENDAR.encode())
    assert (file.kind, file.seen["flags"]) == ("calendar", [])
    with somebodys_time(lambda: "Europe/Lisbon"):
        page = render_to_string(
            "approvals/message_page/_file.html",
            {"one": FilePreview(file), "message": Message()},
        )
    words = " ".join(words_of(page).split())
    assert "Invitation Kick-off, with cake" in words
    assert "Fri 10 Jul 2026, 13:00 to 14:00, WEST" in words
    assert "Repeats every week, 4 times Where Room 2" in words
    assert "Organizer Dana, Sales <dana@northwind.example>" in words
    assert "bob@bob.example (declined) eve@eve.example" in words


def test_calendar_is_read_in_its_encoding_and_with_properties_that_are_there_twice():
    for old, new in (
        ("DURATION:PT1H", "DTEND;TZID=Europe/Berlin:20260710T150000\nDURATION:PT9H"),
        ("COUNT=4", "COUNT=4\nEXDATE;TZID=Europe/Berlin:20260717T140000"),
        ("Room 2", "Größe\nORGANIZER:mailto:ann@ann.example\nLOCATION:Room 3"),
    ):
        for encoding in ("utf-8", "cp1252", "utf-16"):
            [event] = of_bytes(CALENDAR.replace(old, new).encode(encoding)).seen[
                "events"
            ]
            assert event["ends"] == "2026-07-10T13:00:00+00:00"
            dates = "; EXDATE=20260717T140000" * ("EXDATE" in new)
            assert event["repeats"] == f"FREQ=WEEKLY;COUNT=4{dates}"
            is_twice = "ORGANIZER" in new
            assert event["location"] == ("Größe; Room 3" if is_twice else "Room 2")
            assert ("ann@ann.example; " in event["organizer"]) == is_twice


def test_calendar_that_cannot_be_read_whole_says_so():
    events = CALENDAR[CALENDAR.index("BEGIN:VEVENT") : CALENDAR.index("END:VCAL")]
    for content, number in (
        (CALENDAR.replace(HOUR, ":soon"), 0),
        (CALENDAR[:-40], 0),
        (CALENDAR.replace("END:VCAL", events * 10 + "END:VCAL"), 10),
    ):
        seen = of_bytes(content.encode()).seen
        [flag] = seen["flags"]
        assert "Not all of it can be shown" in flag["sentence"]
        assert len(seen["events"]) == number


def test_picture_that_claims_to_be_huge_and_files_of_other_kinds_are_not_shown():
    huge = PIXEL[:16] + b"\0\0\x4e\x20\0\0\x4e\x20" + PIXEL[24:]
    for content, words in (
        (huge, "which would fill the memory"),
        (PIXEL[:16] + bytes(8), "Its size is not known"),
        (b"BZh9", "An archive other than zip cannot be shown safely here."),
        (b"\x00\x01\x02", "Its file type could not be recognised"),
        (b"", "It is empty."),
    ):
        page = document_of(of_bytes(content)).html
        assert words in page, content
        assert "<img" not in page, content


@pytest.mark.slow
def test_bytes_are_deleted_a_month_after_the_message_ended_and_not_while_it_waits(
    desk, enclose
):
    message = enclose(("a.txt", b"secret words"))
    AttachedFile.objects.update(fetched_at=Now() - timedelta(days=400))
    for state, days, deleted in (("held", 400, 0), ("sent", 29, 0), ("sent", 31, 1)):
        change_row(message, state=state, changed_at=Now() - timedelta(days=days))
        assert retention.forget()["files"] == deleted
    file = message.files.get()
    assert (file.content, file.state) == (None, "deleted")
    assert file.found_sha256
    assert "The desk deleted its copy" in panel(desk, message)
    assert "The desk deleted its copy" in view(desk, message).text
    assert view(desk, message, 1, "download/").status_code == 404


PNG = PIXEL[:8]


@pytest.fixture(autouse=True)
def empty_folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return tmp_path / "renderings"


def test_pages_of_a_pdf_are_pictures_with_their_text_and_are_kept(
    monkeypatch, empty_folder
):
    file = of_bytes(INVOICE_PDF)
    shown = pdf_pages(file)
    [page] = shown.pages
    assert shown.refusal == ""
    assert shown.count == 1
    assert shown.next == 0
    assert "EUR 1,225.00" in page["text"]
    picture = parsed.page_picture(file, 1)
    size = page["width"], page["height"]
    assert struct.unpack(">II", picture[16:24]) == size == (1190, 1684)
    monkeypatch.setattr(parsed, "render_file", None)
    assert parsed.page_picture(file, 1) == picture
    # What is kept is deleted when it is too much, or old.
    assert parsed.drop_old_renderings() == 0
    monkeypatch.setattr(parsed, "MAX_KEPT", len(picture))
    assert parsed.drop_old_renderings() == 1
    monkeypatch.setattr(parsed, "MAX_AGE", -1.0)
    assert parsed.drop_old_renderings() == 1


def test_script_of_a_pdf_does_nothing():
    action = b"/OpenAction << /S /JavaScript /JS (while\\(true\\){}; app.launchURL\\('http://evil.example/'\\)) >> "
    file = of_bytes(office_files.pdf_of(1, box="0 0 100000 100000", action=action))
    picture = parsed.page_picture(file, 1)
    assert max(struct.unpack(">II", picture[16:24])) <= 1701
    assert any("JavaScript" in flag["sentence"] for flag in file.seen["flags"])


def test_workbook_shows_formulas_and_marks_what_excel_hides():
    page = document_of(of_bytes(office_files.workbook()))
    assert page.is_shown
    for words in (
        "A rendering. The file itself is what is approved.",
        "<h2>Sheet “Offer”</h2>",
        'Sheet “Costs” <span class="ghost">hidden, and not listed in Excel&#x27;s menu</span>',
        "<code>=B1*0.4</code>",
        "<code>=SUM(B1:B9)</code>",
        '<th scope="col">C <span class="ghost">hidden</span></th>',
        "2023-03-15",
        "Total &lt;b&gt;<span",
        '<th scope="row">2 <span class="ghost">hidden</span></th>',
        "Discount",
    ):
        assert words in page.html, words
    assert "<script" not in page.html


def test_document_marks_what_word_hides_and_names_what_it_would_load():
    run = "<w:r><w:rPr><w:{}/></w:rPr><w:t>{}</w:t></w:r>"
    white = run.format('color w:val="FFFFFF"', "white")
    template = "https://evil.example/normal.dotm"
    page = document_of(
        of_bytes(
            office_files.document(
                '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Offer &lt;script&gt;</w:t></w:r></w:p>'
                f"<w:p>{run.format('vanish', 'not for you')}{white}"
                "<w:del><w:r><w:delText>old price</w:delText></w:r></w:del>"
                "<w:r><w:instrText>DDEAUTO cmd</w:instrText></w:r>"
                '<w:r><w:sym w:font="Arial" w:char="0039"/></w:r></w:p>'
                "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Seats</w:t></w:r></w:p></w:tc></w:tr></w:tbl>",
                more={
                    "word/_rels/settings.xml.rels": office_files.relations(
                        ("r1", "attachedTemplate", template, "elsewhere"),
                        ("r2", "aFChunk", "more.html"),
                    )
                },
            )
        )
    )
    for words in (
        "<h2>Offer &lt;script&gt;</h2>",
        "<b>hidden:</b> not for you",
        "<b>white letters:</b> white",
        "<b>deleted:</b> old price",
        "<b>field code:</b> DDEAUTO cmd",
        "<td>Seats</td>",
        f"may load a template from {template}. Nothing was loaded here.",
        "Word shows another document as part of this one.",
        "[9, in the font Arial]",
    ):
        assert words in page.html, words


def test_text_hidden_by_a_style_is_marked_and_a_decoy_that_word_skips_is_not_shown():
    word = f'xmlns:w="{office_files.WORD}"'
    run = '<w:r><w:rPr><w:rStyle w:val="H"/></w:rPr><w:t>not</w:t></w:r>'
    shown = '<w:pPr><w:pStyle w:val="Shown"/></w:pPr>'
    plain = "<w:p><w:r><w:t>of the default style</w:t></w:r></w:p>"
    hiding = """
        <w:style w:styleId="Base"><w:rPr><w:vanish/></w:rPr></w:style>
        <w:style w:styleId="H"><w:basedOn w:val="Base"/></w:style>
        <w:style w:styleId="Shown"/>
        <w:style w:type="paragraph" w:default="1" w:styleId="N"><w:basedOn w:val="H"/></w:style>
    """
    decoy = (
        '<Relationship Id="r0" Type="urn:x/officeDocument" Target="word/decoy.xml"/>'
    )
    listed = office_files.relations(("r1", "officeDocument", "word/document.xml"))
    more = {
        "_rels/.rels": listed.replace("<Relationship ", f"{decoy}<Relationship ", 1),
        "word/decoy.xml": f"<w:document {word}><w:p><w:r><w:t>decoy</w:t></w:r></w:p></w:document>",
        "word/_rels/document.xml.rels": office_files.relations(
            ("r1", "styles", "styles.xml")
        ),
        "word/styles.xml": f"<w:styles {word}>{hiding}</w:styles>",
    }
    words = f"<w:p>{shown}{run}<w:r><w:t>seen</w:t></w:r></w:p>{plain}"
    page = document_of(of_bytes(office_files.document(words, more=more))).html
    assert "<b>hidden:</b> not" in page
    assert "<b>hidden:</b> of the default style" in page
    assert "<b>hidden:</b> seen" not in page
    assert "decoy" not in page


def test_names_of_namespaces_that_office_skips_show_nothing_else_here():
    cell = '<c r="B2"><x:v xmlns:x="urn:x">100</x:v><v x:t="s" xmlns:x="urn:x">9900</v></c>'
    file = of_bytes(office_files.workbook(sheet=f'<row r="2">{cell}</row>'))
    page = document_of(file).html
    assert "9900" in page
    assert ">100<" not in page
    hidden = '<w:rPr><w:vanish w:val="1" x:val="0" xmlns:x="urn:x"/></w:rPr>'
    body = f"<w:p><w:r>{hidden}<w:t>not for you</w:t></w:r></w:p>"
    page = document_of(of_bytes(office_files.document(body))).html
    assert "<b>hidden:</b> not for you" in page
    # What is left out after very many of them is counted.
    body = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>".format("a\u200b" * 2001)
    page = document_of(of_bytes(office_files.document(body))).html
    assert "1 more invisible characters are left out here." in page


def test_picture_that_programs_show_in_other_ways_is_named():
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    frames = [Image.new("RGB", (9, 9), color) for color in ("red", "blue")]
    for options, words in (
        ({"format": "GIF", "save_all": True}, "<dt>Animated</dt>"),
        ({"format": "WEBP", "save_all": True}, "<dt>Animated</dt>"),
        ({"format": "PNG", "save_all": True}, "<dt>Animated</dt>"),
        ({"format": "MPO", "save_all": True}, "<dt>More pictures</dt>"),
        ({"format": "JPEG", "exif": turned}, "<dt>Turned</dt>"),
    ):
        file = io.BytesIO()
        more = {"append_images": frames[1:]} if "save_all" in options else {}
        frames[0].save(file, **options, **more)
        assert words in document_of(of_bytes(file.getvalue())).html, options
    # Browsers draw these as they are.
    for mode, kind in (("CMYK", "JPEG"), ("I;16", "PNG")):
        file = io.BytesIO()
        Image.new(mode, (9, 9)).save(file, kind)
        assert "No metadata was found" in document_of(of_bytes(file.getvalue())).html


def test_slides_and_open_documents_are_shown():
    page = document_of(of_bytes(office_files.slides("Margin 40%"))).html
    assert 'Slide 1 <span class="ghost">hidden</span>' in page
    assert "Margin 40%" in page
    assert "https://evil.example/slide" in page
    page = document_of(of_bytes(office_files.workbook())).html
    assert "https://evil.example/cell" in page
    deleted = "<text:deletion><text:h>old price</text:h></text:deletion>"
    link = '<text:a xmlns:x="http://www.w3.org/1999/xlink" x:href="https://evil.example/odf">bank</text:a>'
    file = of_bytes(office_files.open_sheet(f"{deleted}<text:p>{link}</text:p>"))
    page = document_of(file).html
    assert 'old price <span class="ghost">deleted</span>' in page
    assert 'bank<span class="said"><b>links to:</b> https://evil.example/odf' in page
    assert "of:=1+1" in page
    assert "(value: 2027-06-01)" in page
    assert '1 <span class="ghost">hidden</span>' in page
    # The named style comes after the one that builds on it.
    hidden = """<text:style text:name="T2" text:parent-style-name="T1"/>
        <text:style text:name="T1"><text:p text:display="none"/></text:style>
        <text:p>We will <text:span text:style-name="T2">not </text:span>charge
        <text:annotation>Really?</text:annotation></text:p>
        <text:section text:display="none"><text:p>Fees</text:p></text:section>"""
    page = document_of(of_bytes(office_files.open_sheet(hidden))).html
    assert 'We will <span class="ghost"><b>hidden:</b> not </span>charge' in page
    assert "<b>comment:</b> Really?" in page
    assert page.index("The next section is hidden.") < page.index("Fees")


ENTITY = '<!DOCTYPE d [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (office_files.locked_pdf, "locked"),
        (lambda: INVOICE_PDF[:40], "broken"),
        (
            lambda: office_files.workbook(
                strings=ENTITY + "<sst><si><t>&b;</t></si></sst>"
            ),
            "entities",
        ),
        (
            lambda: office_files.workbook(
                strings=(OUTSIDE + "<sst/>").encode("utf-16")
            ),
            "entities",
        ),
        pytest.param(
            lambda: office_files.workbook(sheet=" " * (60 * 1024 * 1024)),
            "too_large",
            marks=pytest.mark.slow,
        ),
        (lambda: office_files.workbook(sheet="<row>" * 5000), "broken"),
        (lambda: office_files.document("<w:p>"), "broken"),
        (
            lambda: office_files.open_document(
                "<text:p>", manifest="<m:encryption-data/>"
            ),
            "locked",
        ),
    ],
)
def test_hostile_or_broken_file_is_refused_with_a_sentence(make, reason):
    file = of_bytes(make())
    said = pdf_pages(file).refusal if file.kind == "pdf" else document_of(file).html
    assert SENTENCES[reason] in unescape(said)


NOTE = b"<< /Type /Annot /Subtype /Text /Contents (Pay <5,000) /Rect [9 9 99 99] >>"


def test_pages_are_served_like_files_and_viewed_only_where_something_was_shown(
    desk, enclose
):
    message = enclose(
        ("offer.pdf", INVOICE_PDF, "application/pdf"),
        ("locked.pdf", office_files.locked_pdf()),
        ("noted.pdf", office_files.pdf_page(b"", NOTE, page=b"/Annots [5 0 R]")),
    )
    page = view(desk, message, 2, "pages/").text
    assert SENTENCES["locked"] in page
    assert "3 parts unread" in page_words(unread(desk, message))
    page = compact(view(desk, message, 3, "pages/").text)
    assert "<b>A note:</b> <bdi>Pay &lt;5,000" in page

    page = view(desk, message, 1, "pages/", **{"HX-Request": "true"}).text
    assert f'src="/queue/{message.public_id}/files/1/pages/1/"' in page
    assert "EUR 1,225.00" in page
    assert "1 part unread" in page_words(unread(desk, message))
    picture = view(desk, message, 1, "pages/1/")
    check_frame(picture)
    assert picture["Content-Type"] == "image/png"
    assert picture.content[:8] == PNG
    missing = view(desk, message, 2, "pages/1/")
    check_frame(missing)
    assert missing.status_code == 404
    # What is approved stays what came.
    assert view(desk, message, 1, "download/").content == INVOICE_PDF
