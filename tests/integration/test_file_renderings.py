"""Renderings of attached files: what they show, and refusals."""

import hashlib
import struct
import zlib
from dataclasses import asdict

import pytest

from demo.messages.files import INVOICE_PDF, RETURN_LABEL
from mirror.attachments import parsed
from mirror.attachments.file_types import SENTENCES, Refused
from mirror.attachments.parsed import detect_file
from mirror.attachments.preview import document_of, pdf_pages
from mirror.models import AttachedFile
from parsing import client
from tests import office_files
from tests.integration.test_enclosed import check_frame, enclose, gateway, unread, view  # noqa: F401 -- fixtures

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def empty_folder(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return tmp_path / "renderings"


def fetched(content, name="file"):
    seen = detect_file(content, name=name, content_type="")
    return AttachedFile(
        name=name,
        content=content,
        found_size=len(content),
        found_sha256=hashlib.sha256(content).hexdigest(),
        kind=seen.kind,
        seen=asdict(seen),
        state="fetched",
        place=1,
    )


def refusal_of(content):
    """Return why a file is not shown, and check that its frame says so and its bytes
    stay.
    """
    file = fetched(content)
    with pytest.raises(Refused) as refused:
        parsed.read_rendering(file)
    said = pdf_pages(file).refusal if file.kind == "pdf" else document_of(file).html
    assert SENTENCES[refused.value.reason].replace("'", "&#x27;") in said.replace(
        "'", "&#x27;"
    )
    assert bytes(file.content) == content
    return refused.value.reason


def test_pages_of_a_pdf_are_pictures_with_their_text_and_are_kept(
    monkeypatch, empty_folder
):
    file = fetched(INVOICE_PDF)
    shown = pdf_pages(file)
    [page] = shown.pages
    assert shown.refusal == ""
    assert shown.count == 1
    assert shown.next == 0
    assert page["number"] == 1
    assert "EUR 1,225.00" in page["text"]
    picture = parsed.page_picture(file, 1)
    assert (
        struct.unpack(">II", picture[16:24])
        == (page["width"], page["height"])
        == (1190, 1684)
    )
    monkeypatch.setattr(parsed, "draw_pages", None)
    assert parsed.page_picture(file, 1) == picture
    # What is kept is deleted when it is too much, or old.
    assert parsed.drop_old_renderings() == 0
    monkeypatch.setattr(parsed, "MAX_KEPT", len(picture))
    assert parsed.drop_old_renderings() == 1
    monkeypatch.setattr(parsed, "MAX_AGE", -1.0)
    assert parsed.drop_old_renderings() == 1
    assert list(empty_folder.glob("*-*")) == []


def test_long_pdf_is_shown_in_parts_and_huge_or_tiny_pages_in_bounds():
    file = fetched(office_files.pdf_of(2500))
    shown = pdf_pages(file, first=197)
    assert shown.count == 2500
    assert len(shown.pages) == 4
    assert shown.next == 0
    assert shown.left_out == 2300
    assert pdf_pages(file).next == 5
    assert pdf_pages(file, first=201).refusal == SENTENCES["no_page"]
    for box in ("0 0 100000 100000", "0 0 14400 1", "0 0 1 1"):
        picture = parsed.page_picture(fetched(office_files.pdf_of(1, box=box)), 1)
        assert max(struct.unpack(">II", picture[16:24])) <= 1701, box


def test_script_of_a_pdf_does_nothing():
    action = b"/OpenAction << /S /JavaScript /JS (while\\(true\\){}; app.launchURL\\('http://evil.example/'\\)) >> "
    file = fetched(office_files.pdf_of(1, action=action))
    assert parsed.page_picture(file, 1).startswith(PNG)
    assert any("JavaScript" in flag["sentence"] for flag in file.seen["flags"])


def test_workbook_shows_formulas_and_marks_what_excel_hides():
    page = document_of(fetched(office_files.workbook(names="")))
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
        fetched(
            office_files.document(
                '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Offer &lt;script&gt;</w:t></w:r></w:p>'
                f"<w:p>{run.format('vanish', 'not for you')}{white}"
                "<w:del><w:r><w:delText>old price</w:delText></w:r></w:del>"
                "<w:r><w:instrText>DDEAUTO cmd</w:instrText></w:r></w:p>"
                "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Seats</w:t></w:r></w:p></w:tc></w:tr></w:tbl>",
                more={
                    "word/_rels/settings.xml.rels": office_files.relations(
                        ("r1", "attachedTemplate", template, "elsewhere")
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
    ):
        assert words in page.html, words


def test_slides_and_open_documents_are_shown():
    page = document_of(fetched(office_files.slides("Plan", "-Margin 40%"))).html
    assert 'Slide 2 <span class="ghost">hidden</span>' in page
    assert "Margin 40%" in page
    page = document_of(fetched(office_files.open_sheet())).html
    assert "of:=1+1" in page
    assert '1 <span class="ghost">hidden</span>' in page


def test_picture_shows_camera_place_dates_and_text():
    def field(tag, kind, number, value):
        return struct.pack("<HHI", tag, kind, number) + value

    make = b"Pocket 7\0"
    gps_at = 8 + 2 + 2 * 12 + 4
    place_at = gps_at + 2 + 4 * 12 + 4
    numbers = struct.pack("<6I", 52, 1, 31, 1, 12, 1) + struct.pack(
        "<6I", 13, 1, 24, 1, 0, 1
    )
    fields = field(0x0110, 2, len(make), struct.pack("<I", place_at + 48))
    fields += field(0x8825, 4, 1, struct.pack("<I", gps_at))
    gps = (
        field(1, 2, 2, b"N\0\0\0")
        + field(2, 5, 3, struct.pack("<I", place_at))
        + field(3, 2, 2, b"E\0\0\0")
        + field(4, 5, 3, struct.pack("<I", place_at + 24))
    )
    exif = (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 2)
        + fields
        + bytes(4)
        + struct.pack("<H", 4)
        + gps
        + bytes(4)
    )
    exif += numbers + make

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    text = chunk(b"tEXt", b"Author\0<b>Mona</b>") + chunk(b"eXIf", exif)
    page = document_of(fetched(RETURN_LABEL[:33] + text + RETURN_LABEL[33:])).html
    for words in (
        "<dt>Camera model</dt><dd>Pocket 7</dd>",
        "<dt>Place (GPS)</dt><dd>52.52000° N, 13.40000° E</dd>",
        "<dt>Text “Author”</dt><dd>&lt;b&gt;Mona&lt;/b&gt;</dd>",
    ):
        assert words in page, words
    assert "No metadata was found" in document_of(fetched(RETURN_LABEL)).html
    # A picture whose metadata is broken is drawn all the same.
    broken = RETURN_LABEL[:33] + chunk(b"eXIf", b"II*\0") + RETURN_LABEL[33:]
    assert 'src="data:image/png' in document_of(fetched(broken)).html


ENTITY = '<!DOCTYPE d [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (office_files.locked_pdf, "locked"),
        (lambda: INVOICE_PDF[:40], "broken"),
        (lambda: b"%PDF-1.7 nothing", "broken"),
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
        (lambda: office_files.workbook(sheet=" " * (60 * 1024 * 1024)), "too_large"),
        (lambda: office_files.workbook(sheet="<row>" * 5000), "broken"),
        (lambda: office_files.document("<w:p>"), "broken"),
    ],
)
def test_hostile_or_broken_file_is_refused_with_a_sentence(make, reason):
    assert refusal_of(make()) == reason


def endless_pdf():
    """Return a PDF whose second page draws forms that each draw the next one ten times."""
    levels = 9
    draws = b"".join(
        b"%d 0 obj\n<< /Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << /XObject << /X %d 0 R >> >>"
        b" /Length 60 >>\nstream\n%s\nendstream\nendobj\n"
        % (10 + at, 11 + at, b"/X Do " * 10)
        for at in range(levels)
    )
    last = b"<< /Type /XObject /Subtype /Form /BBox [0 0 595 842] /Length 14 >>\nstream\n0 0 595 842 re\nendstream"
    draws += b"%d 0 obj\n%s\nendobj\n" % (10 + levels, last)
    page = b"4 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>\nendobj\n"
    page += (
        b"5 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 6 0 R"
        b" /Resources << /XObject << /X 10 0 R >> >> >>\nendobj\n"
        b"6 0 obj\n<< /Length 6 >>\nstream\n/X Do \nendstream\nendobj\n"
    )
    head = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    head += b"2 0 obj\n<< /Type /Pages /Kids [4 0 R 5 0 R] /Count 2 >>\nendobj\n"
    return head + page + draws + b"trailer\n<< /Root 1 0 R >>\n%%EOF\n"


def test_page_that_takes_too_long_ends_its_process_and_the_page_before_it_stays(
    monkeypatch,
):
    file = fetched(endless_pdf())
    assert parsed.page_picture(file, 1).startswith(PNG)
    with pytest.raises(Refused, match="too_much"):
        parsed.page_picture(file, 2)
    # It costs its time once.
    monkeypatch.setattr(parsed, "draw_pages", None)
    with pytest.raises(Refused, match="too_much"):
        parsed.page_picture(file, 2)


def test_files_wait_for_a_parser_that_is_busy_or_away(monkeypatch):
    picture = fetched(RETURN_LABEL)
    pdf = fetched(INVOICE_PDF)
    with monkeypatch.context() as away:
        away.setattr(client, "_RESTART_SECONDS", 0.0)
        away.setenv("PARSER_SOCKET", "/nonexistent")
        shown = pdf_pages(pdf)
        drawn = document_of(picture).html
    assert shown.is_busy is True
    assert SENTENCES["busy"] in shown.refusal
    # A picture is drawn all the same.
    assert "data:image/png" in drawn
    assert "Its metadata could not be read" in drawn
    assert pdf_pages(pdf).count == 1


def test_full_disk_is_said(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parsed, "_folder", full)
    assert SENTENCES["no_room"] in pdf_pages(fetched(INVOICE_PDF)).refusal


def test_pages_are_served_like_files_and_viewed_only_where_something_was_shown(
    desk,
    enclose,  # noqa: F811
    reviewer,
):
    message = enclose(
        ("offer.pdf", INVOICE_PDF, "application/pdf"),
        ("locked.pdf", office_files.locked_pdf()),
    )
    digest = message.files.get(place=1).found_sha256
    assert ">2 parts unread</span>" in unread(desk, message)
    page = view(desk, message, 2, "pages/").text
    assert SENTENCES["locked"] in page
    assert ">2 parts unread</span>" in unread(desk, message)

    page = view(desk, message, 1, "pages/", **{"HX-Request": "true"}).text
    assert f'src="/queue/{message.public_id}/files/1/pages/1/"' in page
    assert "EUR 1,225.00" in page
    assert ">1 part unread</span>" in unread(desk, message)
    picture = view(desk, message, 1, "pages/1/")
    check_frame(picture)
    assert picture["Content-Type"] == "image/png"
    assert picture.content[:8] == PNG
    missing = view(desk, message, 2, "pages/1/")
    check_frame(missing)
    assert missing.status_code == 404
    assert SENTENCES["locked"] in missing.text
    # What is approved stays what came.
    assert (
        hashlib.sha256(view(desk, message, 1, "download/").content).hexdigest()
        == digest
    )
