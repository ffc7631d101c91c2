"""What a file really is: by its bytes, against its name and type; and what in it a
reviewer must know.
"""

import io
import struct
import tarfile
import zipfile
import zlib
from zlib import crc32

import pytest

from mirror.attachments.detection import detect_file, kind_of
from mirror.attachments.file_types import Refused
from mirror.attachments.renderings.office import Package
from mirror.attachments.zip_archives import zip_members
from tests.linear import is_linear
from tests.office_files import INVOICE_PDF, RETURN_LABEL, document, workbook

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    + struct.pack(">II", 640, 480)
    + b"\x08\x06\x00\x00\x00"
)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"


def packed(*entries, method=zipfile.ZIP_STORED):
    """Return an archive of these entries: a name or what the directory says, content."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return written.getvalue()


def zipped(**files):
    return packed(*files.items(), method=zipfile.ZIP_DEFLATED)


def named(*names):
    return zipped(**dict.fromkeys(names, b"x"))


def sentences(content, name="file", content_type=""):
    seen = detect_file(content, name=name, content_type=content_type)
    return " ".join(f"{flag.level}: {flag.sentence}" for flag in seen.flags)


# Types of the parts of an Office file, with a character as a number, in UTF-16.
MACRO_TYPES = (
    '<Override ContentType="application/vnd.ms-office.&#118;baProject" PartName="/word/part1.bin"/>'
).encode("utf-16")
# The class id that Windows Installer writes into its packages.
MSI_CLASS = bytes.fromhex("84100c0000000000c000000000000046")
# How the content of a signed message begins.
SIGNED = b"*\x86H\x86\xf7\x0d\x01\x07\x02\xa0"
# An Office file with a password.
LOCKED = OLE + "EncryptedPackage".encode("utf-16-le")
# Kinds, and bytes that are of them.
KINDS = {
    "png": [PNG], "jpeg": [b"\xff\xd8\xff\xe0rest"], "gif": [b"GIF89a\x01\x00\x02\x00"],
    "webp": [b"RIFF\x00\x00\x00\x00WEBPVP8 "], "pdf": [PDF, b"junk before\n" + PDF], "exe": [b"MZ\x90\x00"],
    "binary": [b"\x7fELF\x02"], "ole": [OLE], "rtf": [b"{\\rtf1"],
    "script": [b"#!/bin/sh\nrm -rf x", b"<p>Notes</p><HTA:Application/>"],
    "html": [b"<!DOCTYPE html><p>hi", b"  <script>alert(1)</script>", b"<h1>hi</h1>"],
    "svg": [b"<?xml version='1.0'?><svg xmlns='x'/>"], "xml": [b"<?xml version='1.0'?><other/>"],
    "archive": [b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b\x08"], "key": [b"-----BEGIN PRIVATE KEY-----\n"],
    "text": [b"{}", "Grüße".encode(), "Grüße".encode("utf-16"), "Grüße".encode("cp1252")],
    "pgp": [b"-----BEGIN PGP MESSAGE-----\n", b"-----BEGIN PGP SIGNATURE-----\n"],
    "tnef": [b"\x78\x9f\x3e\x22\x01\x00"],
    "smime": [b"0\x80\x06\x09" + SIGNED, b"0\x82\x0b\x30\x06\x09" + SIGNED],
    "picture": [b"\0\0\0\x18ftyphevc", b"\0\0\0\x18ftypmsf1", b"\0\0\0\x18ftypheim", b"II+\0\x08\0\0\0",
                b"BM" + bytes(12) + b"(\0\0\0"],
    "unknown": [b"\x00\x01\x02\x03 binary"], "empty": [b""],
}  # fmt: skip


def test_kind_goes_by_the_bytes_and_that_of_a_zip_by_what_it_lists():
    for kind, contents in KINDS.items():
        assert {kind_of(one, name="")[0] for one in contents} == {kind}
    assert kind_of(b"a,b\n1,2\n", name="sums.csv")[0] == "csv"
    for kind, names in (
        ("docx", ("[Content_Types].xml", "word/document.xml")),
        ("docx", ("[content_types].xml", "Word/document.xml")),
        ("xlsx", ("[Content_Types].xml", "xl/workbook.xml")),
        ("jar", ("META-INF/MANIFEST.MF", "A.class")),
        ("apk", ("AndroidManifest.xml", "META-INF/MANIFEST.MF")),
        ("zip", ("readme.txt",)),
    ):
        assert detect_file(named(*names), name="x", content_type="").kind == kind


# Content, name, a part of what is said of them, and the declared type.
EXPECTED = [
    (b"MZ\x90", "report.pdf", "high: Its name says .pdf, its content is a Windows program."),
    (b"MZ\x90", "report", "high: Its content is a Windows program."),
    (PDF, "file.bin", "high: Its type says image/png, its content is a PDF.", "image/png"),
    (named("AndroidManifest.xml"), "game.zip", "its content is an Android program."),
    (PDF, "report.pdf.exe", "high: Be careful: named like a .pdf, but a .exe.", "application/pdf"),
    (PDF, "invoice_\u202efdp.exe", "its name is reversed to look like another type; it ends in .exe"),
    (PDF, "in\u200bvoice.pdf", "high: Its name contains invisible characters: zero width space."),
    (PDF + b"/Java#53cript", "a.pdf", "high: It contains JavaScript"),
    (PDF + b"/Launch", "a.pdf", "high: It can start a program."),
    (PDF + b"/Encrypt", "a.pdf", "notice: It is encrypted or protected"),
    (PDF + b"/S /SubmitForm", "a.pdf", "high: It can send what is written into"),
    (PDF + b"/S /GoToR", "a.pdf", "notice: It can open another file"),
    (PDF + b"/RichMedia", "a.pdf", "notice: It contains sound, film"),
    (OLE + "_VBA_PROJECT".encode("utf-16-le"), "a.doc", "high: It contains macros"),
    (named("[Content_Types].xml", "word/vbaProject.bin"), "a.docx", "high: It contains macros"),
    (zipped(**{"[Content_Types].xml": MACRO_TYPES, "word/part1.bin": b"x"}), "a.doc", "high: It contains macros"),
    (zipped(**{"[Content_Types].xml": b" " * 2_000_000, "word/document.xml": b"x"}), "a.docx",
     "high: Its list of files is broken"),
    (OLE + MSI_CLASS, "invoice.doc", "high: It installs a program."),
    (b"{\\rtf1 \\objdata 0105", "a.rtf", "high: It contains an embedded object"),
    (b"{\\rt1\\objdata 0105", "a.doc", "high: It contains an embedded object"),
    (b"{\\rtf1{\\*\\template http://evil.example/x}", "a.rtf", "high: It loads a template from another address"),
    (named("run me.js"), "a.zip", "high: It contains “run me.js”: .js files run."),
    (zipped(**{"invoice.txt": b"MZ" + b"x" * 60}), "a.zip",
     "high: It contains “invoice.txt”, which is a Windows program."),
    (zipped(**{"invoice.txt": b"PK\x03\x04"}), "a.zip",
     "notice: The content of an archive or message in it cannot be listed."),
    (named("../../etc/passwd"), "a.zip", "high: It would write outside its folder"),
    (b"PK\x03\x04 cut off", "a.zip", "high: Its list of files is broken"),
    (b"7z\xbc\xaf\x27\x1c", "a.7z", "notice: Its content cannot be listed here."),
    (b"a,b\n=HYPERLINK(1),2", "a.csv", "notice: Some cells start like formulas"),
    (b"a,b\n-2+3+cmd|' /C calc'!A0,2", "a.csv", "Some cells start like formulas"),
    ("a,b\n=1+1,2".encode("utf-16"), "a.csv", "Some cells start like formulas"),
    (LOCKED, "a.docx", "high: It is encrypted with a password"),
    (named("[Content_Types].xml", "word/embeddings/oleObject1.bin"), "a.docx", "notice: It contains other files."),
    (named("[Content_Types].xml", "xl/activeX/activeX1.bin", "xl/workbook.xml"), "a.xlsx",
     "high: It contains controls, which can run."),
    (b"-----BEGIN RSA PRIVATE KEY-----\n", "id.pem", "high: It is a private key"),
    (b"<svg/>", "a.svg", "notice: It opens in the browser", "image/svg+xml"),
]  # fmt: skip
AGREES = [
    (PNG, "logo.PNG", "image/png; charset=binary"),
    (PDF, "invoice.pdf", "application/octet-stream"),
    (b"a;b\n1;-2\n", "sums.csv", "text/plain"),
    (b"key: value", "settings.yaml", "application/x-unheard-of"),
    (named("[Content_Types].xml", "xl/workbook.xml"), "sums.xlsx", "application/zip"),
    (b"", "empty.txt", "text/plain"),
    (b"a,b\r\n1,+49 89 1\r\n\x1a", "sums.csv", "application/vnd.ms-excel"),
    (b"{\\rtf1{\\*\\template C:\\\\Own.dotx}}", "a.rtf", "application/rtf"),
    (b"0\x80\x06\x09" + SIGNED, "smime.p7s", "application/pkcs7-signature"),
    (b"\0\0\0\x18ftypmsf1", "a.heic", "image/heic"),
    (b"\xef\xbb\xbf{}", "data.json", "application/json"),
]


def test_contradicting_or_active_files_are_named_and_consistent_ones_are_not():
    for content, name, sentence, *content_type in EXPECTED:
        assert sentence in sentences(content, name, *content_type), (name, sentence)
    for content, name, content_type in AGREES:
        assert sentences(content, name, content_type) == "", name


def test_bomb_and_lock_are_announced_by_the_directory_alone():
    content = bytearray(named("a.txt"))
    entry = content.find(b"PK\x01\x02")
    # Whoever unpacked it would find a single byte.
    content[entry + 24 : entry + 28] = struct.pack("<I", 200_000_000)
    assert "high: It would unpack to far more than any message needs" in sentences(
        bytes(content), "a.zip"
    )
    content[entry + 8] |= 1
    assert "encrypted with a password" in sentences(bytes(content), "a.zip")


def hides(content, name="a.zip", content_type=""):
    """Return whether the file may hold other files than those that are listed."""
    seen = detect_file(content, name=name, content_type=content_type)
    return any(flag.means == "hides" for flag in seen.flags)


class Pipe(io.RawIOBase):
    """What cannot be rewound, as the answer to a request."""

    def __init__(self):
        self.content = b""

    def writable(self):
        return True

    def write(self, data):
        self.content += bytes(data)
        return len(data)


def streamed(method, **files):
    """Return an archive in which the sizes follow the data of each file."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return pipe.content


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def test_archives_of_common_programs_are_listed_for_certain():
    large = io.BytesIO()
    with (
        zipfile.ZipFile(large, "w") as archive,
        archive.open("a.txt", "w", force_zip64=True) as file,
    ):
        file.write(b"x" * 50)
    changed = io.BytesIO(named("a.txt"))
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr("b.txt", "x")
        archive.writestr("folder/", "")
    office = {"[Content_Types].xml": "<x/>" * 9, "word/document.xml": "<x/>"}
    for content in (
        large.getvalue(),
        changed.getvalue(),
        zipped(),
        workbook(),
        document("<w:p/>"),
        *(streamed(one, a="x" * 5000, b="", c="y") for one in METHODS),
        *(streamed(one, **office) for one in METHODS),
    ):
        assert not hides(content)


# One file after the other as it is stored, with its sizes behind it.
FILE = streamed(zipfile.ZIP_STORED, **{"run.exe": "MZ"})
FILE = FILE[: FILE.index(b"PK\x01\x02")]


CALM = b"calm"


def ends_early(method):
    """Return an archive whose only file, read from the beginning on, ends before the
    directory says so, and is followed by a program.
    """
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(CALM) + packer.flush() if method else CALM
    sizes = struct.pack("<III", crc32(CALM), len(data), len(CALM))
    data += b"PK\x07\x08" + sizes + FILE
    content = streamed(zipfile.ZIP_STORED, **{"a.txt": data})
    if method:
        real = struct.pack("<III", crc32(data), len(data), len(data))
        stated = struct.pack("<III", crc32(CALM), len(data), len(CALM))
        content = bytearray(content.replace(real, stated))
        content[8] = content[content.index(b"PK\x01\x02") + 10] = method
    return bytes(content)


def with_comment(content, comment):
    return content[:-2] + struct.pack("<H", len(comment)) + comment


def with_second_directory():
    hidden, shown = named("run.exe"), named("ab.txt1")
    directory = shown[shown.index(b"PK\x01\x02") :]
    return with_comment(hidden, directory)


def with_locator():
    """Return an archive that names, at the end of its last entry, another directory."""
    info = zipfile.ZipInfo("run.txt")
    info.comment = b"PK\x06\x07" + bytes(16)
    return packed((info, "x"))


def with_names(stored, unicode_name):
    info = zipfile.ZipInfo(stored)
    field = struct.pack("<BI", 1, crc32(stored.encode())) + unicode_name
    info.extra = b"up" + struct.pack("<H", len(field)) + field
    return packed((info, "x"))


UNCERTAIN = {
    "two archives in a row": named("run.exe") + named("a.txt"),
    "bytes behind it": named("a.txt") + b"\0",
    "a second directory in the comment": with_second_directory(),
    "a comment": with_comment(named("a.txt"), b"x"),
    "another directory": with_locator(),
    "another name in the header": named("run.exe").replace(b"run.exe", b"run.txt", 1),
    "another name in the directory": named("run.txt").replace(
        b"run.txt", b"run.exe", 1
    ),
    "another name in Unicode": with_names("run.exe", b"run.txt"),
    "a name that ends early": named("run.exe?.txt").replace(b"?", b"\0"),
    "a control character": named("run.exe?.txt").replace(b"?", b"\n"),
    "a folder with content": named("run.exe/"),
    "a file that ends early, stored": ends_early(zipfile.ZIP_STORED),
    "a file that ends early, packed": ends_early(zipfile.ZIP_DEFLATED),
    "a file that is not in the directory": FILE + named("a.txt"),
}


def test_archive_in_which_programs_may_find_other_files_hides_them():
    assert [name for name, content in UNCERTAIN.items() if not hides(content)] == []


def tar_without_magic():
    written = io.BytesIO()
    with tarfile.open(
        fileobj=written, mode="w", format=tarfile.USTAR_FORMAT
    ) as archive:
        archive.addfile(tarfile.TarInfo("run.exe"))
    content = written.getvalue()
    return content[:257] + bytes(8) + content[265:]


OFFICE = ("[Content_Types].xml", "word/document.xml")
OTHER_ARCHIVE = (
    b"!<arch>\nrun.bat/        0           0     0     644     3         `\ndir\n"
)
# Files that may hold others, or of which nothing is known.
HIDING = [
    ("files.tar", tar_without_magic()),
    ("files.dat", tar_without_magic()),
    ("files.tar", b"text"),
    ("files.cpio", b"070707000000"),
    ("files", b"text", "application/x-cpio"),
    ("notes.txt", OTHER_ARCHIVE),
    ("run.exe.lzma", b"\x5d\0\0\x80\0"),
    ("files.zip", b"XX" + named("run.exe")),
    ("files.zip", PNG + named("run.exe")),
    ("logo.png", PNG + named("run.exe")),
    ("a.pdf", PDF + named("run.exe")),
    ("a.pdf", PDF + b"Rar!\x1a\x07\0"),
    ("notes.txt", b"\xff\xfe" + named("run.exe")),
    ("notes.txt", b"\xef\xbb\xbf\x01\x02"),
    ("data", b"\0\1\2\3"),
    ("mail", b"Subject: a\n\nb", "message/rfc822"),
    ("mail.eml", b"Subject: %PDF-1.4\n\nb"),
    ("letter.msg", OLE),
    ("files.zip", named("mail.eml")),
    ("files.zip", named(*OFFICE, "more.zip")),
    ("smime.p7m", b"-----BEGIN PKCS7-----\n"),
    ("encrypted.asc", b"-----BEGIN PGP MESSAGE-----\n"),
]
PLAIN = [
    ("invoice.pdf", INVOICE_PDF),
    ("label.png", RETURN_LABEL),
    ("a.docx", document("<w:p/>"), "application/zip"),
    ("a.xlsx", workbook()),
    ("a.zip", named("a.docx", "b.pdf", "c.txt")),
    ("a.doc", OLE),
    ("a.rtf", b"{\\rtf1"),
    ("a.csv", "Größe,1".encode("utf-8-sig"), "application/vnd.ms-excel"),
    ("a.txt", "Größe".encode("utf-16")),
    ("a.txt", b"\xff\xfeabc"),
    ("a.heic", b"\0\0\0\x18ftypheic"),
    ("smime.p7s", b"0\x80\x06\x09" + SIGNED, "application/pkcs7-signature"),
    ("signature.asc", b"-----BEGIN PGP SIGNATURE-----\n"),
    ("empty.dat", b""),
]


def test_file_that_may_hold_others_or_is_of_no_known_kind_hides_them():
    for name, content, *content_type in HIDING:
        assert hides(content, name, *content_type), name
    for name, content, *content_type in PLAIN:
        assert not hides(content, name, *content_type), name


def test_files_of_an_archive_have_the_names_that_programs_show():
    for stored, unicode_name, checked, shown in (
        ("Größe.pdf".encode(), b"", b"", "Größe.pdf"),
        ("Größe.pdf".encode("cp437"), b"", b"", "Größe.pdf"),
        (b"a.pdf", b"invoice.exe", b"a.pdf", "invoice.exe"),
        # For another name: it was changed by a program that does not know the second.
        (b"a.exe", b"a.pdf", b"b.exe", "a.exe"),
    ):
        info = zipfile.ZipInfo("x" * len(stored))
        fields = struct.pack("<2sHBI", b"up", len(unicode_name) + 5, 1, crc32(checked))
        info.extra = b"\x99\x99\x02\x00up" + fields + unicode_name
        content = packed((info, "x")).replace(info.filename.encode(), stored)
        assert [one.name for one in zip_members(content)] == [shown]


def test_hostile_megabyte_is_looked_at_in_time_by_its_length():
    """What loops over bytes; patterns: tests/unit/test_patterns.py."""
    for begins, goes_on in ((b"", b"PK\x05\x06"), (b"\xff\xd8", b"\xff")):
        small, large = (
            begins + goes_on * (length // len(goes_on))
            for length in (125_000, 1_000_000)
        )
        assert is_linear(
            lambda content: detect_file(content, name="x.csv", content_type="text/csv"),
            small,
            large,
        )


def test_second_directory_that_a_zip64_record_names_hides_no_file():
    """Python's `zipfile` reads that directory; other programs open the first one."""
    hidden = named("invoice.exe")
    start = hidden.index(b"PK\x01\x02")
    end = hidden.index(b"PK\x05\x06")
    directory = hidden[start:end].replace(b".exe", b".txt")
    record = struct.pack(
        "<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, end - start, end
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end + len(directory), 1)
    both = hidden[:end] + directory + record + locator + hidden[end:]
    assert zipfile.ZipFile(io.BytesIO(both)).namelist() == ["invoice.txt"]
    assert "high: It contains “invoice.exe”" in sentences(both, "a.zip")
    with pytest.raises(Refused):
        Package(both)


def test_number_of_files_that_an_archive_states_hides_none():
    content = bytearray(packed(("readme.txt", "x"), ("invoice.exe", "x")))
    end = content.index(b"PK\x05\x06")
    content[end + 8 : end + 12] = struct.pack("<HH", 1, 1)
    assert "high: It contains “invoice.exe”" in sentences(bytes(content), "a.zip")
