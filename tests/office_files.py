"""Makes small Office files from parts that a test gives, and unusual PDFs, as
attachments for tests.
"""

import io
import itertools
import struct
import zipfile
import zlib

from demo.messages.message import ATTACHMENTS

# The attachments of the demo that tests attach as well.
INVOICE_PDF = (ATTACHMENTS / "invoice.pdf").read_bytes()
RETURN_LABEL = (ATTACHMENTS / "label.png").read_bytes()
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/{}/2006/main"
WORD = MAIN.format("wordprocessingml")
SHEET = MAIN.format("spreadsheetml")
SLIDE = MAIN.format("presentationml")
DRAWING = MAIN.format("drawingml")
OPEN = "urn:oasis:names:tc:opendocument:xmlns:{}:1.0"
_MAIN = {
    "docx": "word/document.xml",
    "xlsx": "xl/workbook.xml",
    "pptx": "ppt/presentation.xml",
}


def relations(*listed):
    """Return the XML part that lists relationships: each is (id, kind, target), with a
    fourth item if the target is outside of the file.
    """
    rows = "".join(
        f'<Relationship Id="{key}" Type="{OFFICE}/{kind}" Target="{target}"'
        f"{' TargetMode=' + chr(34) + 'External' + chr(34) if outside else ''}/>"
        for key, kind, target, *outside in listed
    )
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{rows}</Relationships>'


def office_file(kind, parts):
    """Return a file of this kind ("docx" or "xlsx") with these parts, by name."""
    all_parts = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(("r1", "officeDocument", _MAIN[kind])),
        **parts,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in all_parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_of(*names):
    """Return a zip archive of small files with these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def workbook(*, sheet="", strings="", styles=""):
    """Return a workbook with a visible sheet, which has a hidden row and column, and a
    hidden sheet.
    """
    rows = sheet or (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1"><v>1200</v></c><c r="C1" s="1"><v>45000</v></c></row>'
        '<row r="2" hidden="1"><c r="A2" t="inlineStr"><is><t>Discount</t></is></c>'
        '<c r="B2"><f>B1*0.4</f><v>480</v></c></row>'
    )
    return office_file(
        "xlsx",
        {
            "xl/workbook.xml": f'<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}"><sheets><sheet name="Offer" r:id="r1"/>'
            f'<sheet name="Costs" state="veryHidden" r:id="r2"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(
                ("r1", "worksheet", "worksheets/sheet1.xml"),
                ("r2", "worksheet", "worksheets/sheet2.xml"),
                ("r3", "sharedStrings", "sharedStrings.xml"),
                ("r4", "styles", "styles.xml"),
            ),
            "xl/styles.xml": styles
            or '<s><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></s>',
            "xl/sharedStrings.xml": strings
            or "<sst><si><t>Total &lt;b&gt;\u202e</t></si></sst>",
            "xl/worksheets/_rels/sheet1.xml.rels": relations(
                ("r1", "hyperlink", "https://evil.example/cell", "elsewhere")
            ),
            "xl/worksheets/sheet1.xml": f'<worksheet><cols><col min="3" max="3" hidden="1"/></cols>'
            f"<sheetData>{rows}</sheetData></worksheet>",
            "xl/worksheets/sheet2.xml": "<worksheet><sheetData><row r='1'><c r='A1'><f>SUM(B1:B9)</f><v>7</v></c></row>"
            "</sheetData></worksheet>",
        },
    )


def document(body, *, more=None):
    """Return a Word document with this body."""
    xml = f'<w:document xmlns:w="{WORD}" xmlns:r="{OFFICE}"><w:body>{body}</w:body></w:document>'
    return office_file("docx", {"word/document.xml": xml, **(more or {})})


def office_parts(kind, main, parts=(), *, beside=""):
    """Return a file with this XML in its main part, or in its only sheet or slide.
    `parts` are (kind of relation, name, XML), which that part names; `beside` is XML of
    the part that lists the sheet or slide.
    """
    spaces = f"""xmlns:w="{WORD}" xmlns:a="{DRAWING}" xmlns:r="{OFFICE}"
        xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"
        xmlns:v="urn:schemas-microsoft-com:vml" xmlns:t="{THREADS}"
        xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"
        xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing\""""
    one = {"docx": "word/document.xml", "xlsx": "xl/s.xml", "pptx": "ppt/s.xml"}[kind]
    own = {"docx": WORD, "xlsx": SHEET, "pptx": SLIDE}[kind]
    files = {one: f'<main xmlns="{own}" {spaces}>{main}</main>'}
    folder, _, base = one.rpartition("/")
    # Relations that are not in the list of Office itself have a namespace before.
    listed = relations(*((f"r{n}", *part[:2]) for n, part in enumerate(parts)))
    files[f"{folder}/_rels/{base}.rels"] = listed.replace(f"{OFFICE}/http", "http")
    for _, name, xml in parts:
        files[f"{folder}/{name}"] = f'<part xmlns="{own}" {spaces}>{xml}</part>'
    if kind != "docx":
        sheet, group = {
            "xlsx": ("sheet name='S'", "sheets"),
            "pptx": ("sldId", "sldIdLst"),
        }[kind]
        lists = f"<{group}><{sheet} r:id='r1'/></{group}>{beside}"
        files[_MAIN[kind]] = f'<main xmlns="{own}" {spaces}>{lists}</main>'
        folder, _, base = _MAIN[kind].rpartition("/")
        files[f"{folder}/_rels/{base}.rels"] = relations(
            ("r1", "sheet", "s.xml"), ("r2", "styles", "st.xml")
        )
        files[f"{folder}/st.xml"] = f'<s xmlns="{own}">{beside}</s>'
    return office_file(kind, files)


THREADS = "http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments"


def slides(text):
    """Return a hidden slide with this text."""
    shown = f'<p:presentation xmlns:p="{SLIDE}" xmlns:r="{OFFICE}"><p:sldIdLst><p:sldId r:id="r1"/></p:sldIdLst>'
    return office_file(
        "pptx",
        {
            "ppt/presentation.xml": f"{shown}</p:presentation>",
            "ppt/_rels/presentation.xml.rels": relations(
                ("r1", "slide", "slides/slide1.xml")
            ),
            "ppt/slides/_rels/slide1.xml.rels": relations(
                ("r1", "hyperlink", "https://evil.example/slide", "elsewhere")
            ),
            "ppt/slides/slide1.xml": f'<p:sld xmlns:p="{SLIDE}" xmlns:a="{DRAWING}" show="0">'
            f"<a:p><a:t>{text}</a:t></a:p></p:sld>",
        },
    )


def open_document(body, *, styles="", manifest="<manifest/>", **objects):
    """Return an OpenDocument file with this body, this manifest, and the parts
    styles.xml and objects, which have the prefixes of the elements that are read.
    """
    prefixes = {"draw": "drawing", "fo": "xsl-fo-compatible"}
    names = "office text table style draw presentation form fo".split()
    spaces = " ".join(
        f'xmlns:{one}="{OPEN.format(prefixes.get(one, one))}"' for one in names
    )
    parts = {"content.xml": body, "styles.xml": styles}
    parts |= {f"{name}/content.xml": xml for name, xml in objects.items()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("META-INF/manifest.xml", manifest)
        for name, xml in parts.items():
            archive.writestr(name, f"<part {spaces}>{xml}</part>")
    return packed.getvalue()


def open_sheet(more=""):
    """Return an OpenDocument sheet with a formula and a hidden row, and `more` XML."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr(
            "content.xml",
            f'<d xmlns:table="{OPEN.format("table")}" xmlns:text="{OPEN.format("text")}"'
            f' xmlns:office="{OPEN.format("office")}">'
            '<table:table table:name="Plan">'
            '<table:table-row table:visibility="collapse">'
            '<table:table-cell table:formula="of:=1+1"><text:p>2</text:p></table:table-cell>'
            '<table:table-cell office:date-value="2027-06-01"><text:p>1 May</text:p>'
            "</table:table-cell></table:table-row>"
            f"</table:table>{more}</d>",
        )
    return packed.getvalue()


def pdf_of(pages, *, box="0 0 595 842", action=b""):
    """Return a PDF with this many empty pages. `action` runs when it is opened."""
    kids = b" ".join(b"%d 0 R" % (number + 3) for number in range(pages))
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] >>".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R " + action + b">>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        *([page] * pages),
    ]
    out = b"%PDF-1.4\n" + b"".join(
        b"%d 0 obj\n%s\nendobj\n" % one for one in enumerate(objects, start=1)
    )
    # There is no table of the objects: PDFium searches for them.
    return out + b"trailer\n<< /Size %d /Root 1 0 R >>\n%%%%EOF\n" % (len(objects) + 1)


def pdf_page(content, *objects, catalog=b"", page=b"", box=b"0 0 612 792"):
    """Return a PDF with one page, whose content has the font /F. `objects` are number
    5 and following, `catalog` and `page` more entries of these two.
    """
    font = b"<< /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
    listed = (
        b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog,
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 /Resources << /Font %s >> >>" % font,
        b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Contents 4 0 R %s >>"
        % (box, page),
        pdf_stream(content),
        *objects,
    )
    out = b"%PDF-1.7\n" + b"".join(
        b"%d 0 obj\n%s\nendobj\n" % one for one in enumerate(listed, start=1)
    )
    return out + b"trailer\n<< /Size %d /Root 1 0 R >>\n%%%%EOF\n" % (len(listed) + 1)


def pdf_stream(content, entries=b""):
    """Return an object of a PDF that is a stream."""
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (
        entries,
        len(content),
        content,
    )


def packed_pdf(*objects):
    """Return a PDF that has packed all of its objects. The first is the catalog."""
    starts = itertools.accumulate((len(one) + 1 for one in objects[:-1]), initial=0)
    head = b"".join(b"%d %d " % pair for pair in enumerate(starts, start=1))
    entries = b"/Type /ObjStm /N %d /First %d /Filter /FlateDecode"
    packed = pdf_stream(
        zlib.compress(head + b"\n".join(objects)), entries % (len(objects), len(head))
    )
    stream, table = len(objects) + 1, len(objects) + 2
    out = b"%%PDF-1.7\n%d 0 obj\n%s\nendobj\n" % (stream, packed)
    rows = [(0, 0, 65535), *((2, stream, at) for at in range(len(objects)))]
    rows += [(1, 9, 0), (1, len(out), 0)]
    entries = b"/Type /XRef /Size %d /W [1 4 2] /Root 1 0 R" % (table + 1)
    listed = pdf_stream(b"".join(struct.pack(">BIH", *row) for row in rows), entries)
    end = b"%d 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n"
    return out + end % (table, listed, len(out))


def locked_pdf():
    """Return a PDF that asks for a password."""
    key = b"<< /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P -4 >>" % (
        b"00" * 32,
        b"11" * 32,
    )
    return INVOICE_PDF.replace(
        b"/Root 1 0 R", b"/Root 1 0 R /ID [<aa><aa>] /Encrypt " + key
    )
