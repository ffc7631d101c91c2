"""What a file really is: by its bytes, against its name and type; and what in it a reviewer must know."""

import io
import struct
import time
import zipfile
import zlib

import pytest

from approvals.enclosed.archives import MAX_LISTED, NotListed, members_of
from approvals.enclosed.pictures import size_of
from approvals.enclosed.sniff import flags_of_name, kind_of, look

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 640, 480) + b"\x08\x06\x00\x00\x00"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"


def readable(value):
    """A part of a test's name: archives hold the time of day, and every process must find the same tests."""
    return value if isinstance(value, str) and value.isprintable() else ""


def zipped(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def named(*names):
    return zipped(**dict.fromkeys(names, b"x"))


def sentences(content, name="file", content_type=""):
    return " ".join(
        f"{flag.level}: {flag.sentence}" for flag in look(content, name=name, content_type=content_type).flags
    )


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (PNG, "", "png"),
        (b"\xff\xd8\xff\xe0rest", "", "jpeg"),
        (b"GIF89a\x01\x00\x02\x00", "", "gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "", "webp"),
        (PDF, "", "pdf"),
        (b"junk before\n" + PDF, "", "pdf"),
        (b"MZ\x90\x00", "", "exe"),
        (b"\x7fELF\x02", "", "elf"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "", "ole"),
        (b"{\\rtf1", "", "rtf"),
        (b"#!/bin/sh\nrm -rf x", "", "script"),
        (b"<!DOCTYPE html><p>hi", "", "html"),
        (b"  <script>alert(1)</script>", "", "html"),
        (b"<?xml version='1.0'?><svg xmlns='x'/>", "", "svg"),
        (b"<?xml version='1.0'?><other/>", "", "xml"),
        (b'{"a": [1, 2]}', "", "json"),
        (b"{not json", "", "text"),
        (b"a,b\n1,2\n", "sums.csv", "csv"),
        (b"-----BEGIN PRIVATE KEY-----\n", "", "key"),
        ("Grüße".encode(), "", "text"),
        ("Grüße".encode("utf-16"), "", "text"),
        ("Grüße".encode("cp1252"), "", "text"),
        (b"\x00\x01\x02\x03 binary", "", "unknown"),
        (b"", "", "empty"),
    ],
    ids=readable,
)  # fmt: skip
def test_kind_goes_by_the_bytes(content, name, kind):
    assert kind_of(content, name=name)[0] == kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("[Content_Types].xml", "word/document.xml"), "docx"),
        (("[Content_Types].xml", "xl/workbook.xml"), "xlsx"),
        (("META-INF/MANIFEST.MF", "A.class"), "jar"),
        (("AndroidManifest.xml", "META-INF/MANIFEST.MF"), "apk"),
        (("readme.txt",), "zip"),
    ],
)
def test_kind_of_a_zip_goes_by_what_it_lists(names, kind):
    assert look(named(*names), name="x", content_type="").kind == kind


@pytest.mark.parametrize(
    ("content", "name", "content_type", "told"),
    [
        (b"plain words", "report.pdf", "application/pdf", "high: Its name ends in .pdf, but its bytes are plain text."),
        (b"MZ\x90", "report.pdf", "", "high: Its name ends in .pdf, but its bytes are a Windows program."),
        (b"MZ\x90", "report", "", "high: Its bytes are a Windows program."),
        (PDF, "picture.png", "image/png", "high: Its name ends in .png, but its bytes are a PDF."),
        (PDF, "file.bin", "image/png", "high: It is declared as image/png, but its bytes are a PDF."),
        (b"<html>", "notes.txt", "text/plain", "high: Its name ends in .txt, but its bytes are a web page."),
        (named("AndroidManifest.xml"), "game.zip", "", "but its bytes are an Android program."),
        (PDF, "report.pdf.exe", "application/pdf", "high: Be careful: named like a .pdf, but a .exe."),
        (PDF, "invoice_\u202efdp.exe", "", "its name is turned round to look like another type; it ends in .exe"),
        (PDF, "in\u200bvoice.pdf", "", "high: Its name holds characters that show nothing: zero width space."),
        (PDF + b"/Java#53cript", "a.pdf", "", "high: It holds JavaScript"),
        (PDF + b"/Launch", "a.pdf", "", "high: It can start a program."),
        (PDF + b"/Encrypt", "a.pdf", "", "notice: It is locked or protected"),
        (OLE + "_VBA_PROJECT".encode("utf-16-le"), "a.doc", "", "high: It holds macros"),
        (named("[Content_Types].xml", "word/vbaProject.bin"), "a.docx", "", "high: It holds macros"),
        (b"{\\rtf1 \\objdata 0105", "a.rtf", "", "high: It holds an embedded object"),
        (named("run me.js"), "a.zip", "", "high: It holds “run me.js”: .js files run."),
        (named("../../etc/passwd"), "a.zip", "", "high: It would write outside its folder"),
        (b"PK\x03\x04 cut off", "a.zip", "", "high: Its list of files is broken"),
        (b"7z\xbc\xaf\x27\x1c", "a.7z", "", "notice: What is inside cannot be listed here."),
        (b"a,b\n=HYPERLINK(1),2", "a.csv", "", "notice: Some cells begin like formulas"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n", "id.pem", "", "high: It is a private key"),
        (b"<svg><script/></svg>", "a.svg", "image/svg+xml", "notice: It opens in the browser and can hold scripts."),
    ],
    ids=readable,
)  # fmt: skip
def test_what_contradicts_or_can_act_is_said(content, name, content_type, told):
    assert told in sentences(content, name, content_type)


@pytest.mark.parametrize(
    ("content", "name", "content_type"),
    [
        (PNG, "logo.PNG", "image/png; charset=binary"),
        (PDF, "invoice.pdf", "application/octet-stream"),
        (b"a;b\n1;-2\n", "sums.csv", "text/plain"),
        (b"just words", "notes", ""),
        (b"key: value", "settings.yaml", "application/x-unheard-of"),
        (named("[Content_Types].xml", "xl/workbook.xml"), "sums.xlsx", "application/zip"),
        (b"", "empty.txt", "text/plain"),
        (b"\xef\xbb\xbf{}", "data.json", "application/json"),
    ],
    ids=readable,
)
def test_what_agrees_is_not_spoken_of(content, name, content_type):
    assert sentences(content, name, content_type) == ""


def test_name_alone_gives_away_what_it_can_before_any_byte_came():
    [flag] = flags_of_name("report.pdf.exe", "application/pdf")
    assert (flag.level, "named like a .pdf, but a .exe" in flag.sentence) == ("high", True)
    assert flags_of_name("report.pdf", "application/pdf") == ()


def test_archive_lists_names_and_counts_the_rest():
    seen = look(named(*(f"{number}.txt" for number in range(MAX_LISTED + 7))), name="a.zip", content_type="")
    assert (len(seen.members), seen.more, seen.members[0]) == (MAX_LISTED, 7, "0.txt")


def test_bomb_is_announced_by_its_directory_and_never_unpacked():
    packed = zipped(**{"zeros.txt": bytes(200_000_000)})
    assert len(packed) < 1_000_000
    began = time.perf_counter()
    assert "high: It would unpack to far more than any letter needs." in sentences(packed, "a.zip")
    assert time.perf_counter() - began < 0.2


def test_locked_archive_is_named():
    packed = bytearray(named("a.txt"))
    packed[packed.find(b"PK\x01\x02") + 8] |= 1
    assert "locked with a password" in sentences(bytes(packed), "a.zip")


@pytest.mark.parametrize(
    "cut", [b"", b"PK\x05\x06", b"PK\x05\x06" + bytes(6) + b"\x05\x00" + bytes(10)], ids=["none", "mark", "five"]
)
def test_directory_that_is_made_up_is_not_read(cut):
    with pytest.raises(NotListed):
        members_of(cut)


def test_name_in_an_archive_can_be_stored_whatever_bytes_it_has():
    packed = named("a?b.txt").replace(b"a?b.txt", b"a\x00b.txt")
    assert look(packed, name="a.zip", content_type="").members == ("a\ufffdb.txt",)


def test_archive_behind_other_bytes_is_listed_all_the_same():
    assert [member.name for member in members_of(b"x" * 1000 + named("a.txt"))] == ["a.txt"]


def _jpeg(width, height):
    table = b"\xff\xdb" + struct.pack(">H", 4) + b"\x00\x00"
    return b"\xff\xd8" + table + b"\xff\xff\xc2" + struct.pack(">HBHH", 17, 8, height, width) + bytes(10)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("png", PNG),
        ("gif", b"GIF89a" + struct.pack("<HH", 640, 480)),
        ("jpeg", _jpeg(640, 480)),
        ("webp", b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")),
        ("webp", b"RIFF\0\0\0\0WEBPVP8L" + bytes(4) + b"\x2f" + struct.pack("<I", 639 | 479 << 14)),
        ("webp", b"RIFF\0\0\0\0WEBPVP8 " + bytes(7) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480)),
    ],
    ids=readable,
)  # fmt: skip
def test_size_of_a_picture_is_read_from_its_header(kind, content):
    assert size_of(kind, content) == (640, 480)


@pytest.mark.parametrize("kind", ["png", "gif", "jpeg", "webp", "pdf"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + bytes(20)], ids=["none", "cut", "zeros"]
)
def test_size_of_a_broken_picture_is_not_guessed(kind, content):
    width, height = size_of(kind, content) or (0, 0)
    assert not width or not height


@pytest.mark.parametrize(
    "content",
    [
        b"<" * 1_000_000,
        b"<!--" * 250_000,
        b" " * 1_000_000,
        b"%PDF-" + b"#" * 1_000_000,
        b"PK\x05\x06" * 250_000,
        b"[" * 1_000_000,
        b"\xff\xd8" + b"\xff" * 1_000_000,
        zlib.compress(bytes(1_000_000)),
    ],
    ids=["angles", "comments", "blanks", "codes", "ends", "brackets", "markers", "packed"],
)
def test_hostile_megabyte_is_looked_at_in_no_time(content):
    began = time.perf_counter()
    look(content, name="x.csv", content_type="text/csv")
    assert time.perf_counter() - began < 1
