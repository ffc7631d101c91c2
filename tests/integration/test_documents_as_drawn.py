"""Attached documents are shown as the programs of recipients show them. Everything here
is read by the parser's confined processes.
"""

import io
import re
import zipfile
import zlib
from html import escape, unescape

import pytest
from PIL import Image

from mirror.attachments import parsed
from mirror.attachments.file_types import SENTENCES
from mirror.attachments.preview import document_of, pdf_pages
from mirror.attachments.renderings import pdf_pages as pdf_renderings
from mirror.attachments.renderings.number_formats import shown
from tests.integration.test_enclosed import of_bytes
from tests.office_files import (
    office_parts,
    open_document,
    packed_pdf,
    pdf_page,
    pdf_stream,
)

TEXT = b"BT /F 18 Tf 72 720 Td (Payment order) Tj ET "
FORM = b"/AcroForm << /Fields [5 0 R] /DA (/F 12 Tf 0 g) >>"
FIELD = b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Amount) /V (EUR 94,000.00) /F %d"
FIELD += b" /DA (/F 12 Tf 0 g) /Rect [130 640 330 700] %s >>"
NOTE = b"<< /Type /Annot /F 4 /Rect [130 640 330 700] %s >>"
DRAWN = b"/Type /XObject /Subtype /Form /BBox [0 0 200 60] /Resources << /Font << /F"
DRAWN += b" << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
APPEARANCE = pdf_stream(b"BT /F 12 Tf 2 6 Td (EUR 94,000.00) Tj ET", DRAWN)
OTHER = pdf_stream(b"BT /F 12 Tf 2 6 Td (EUR 9.40) Tj ET", DRAWN)
LAYER = b"/OCProperties << /OCGs [5 0 R] /D << /OFF [5 0 R] >> >>"
SCRIPT = b"/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>"


def with_note(entries, *objects):
    return pdf_page(TEXT, NOTE % entries, *objects, page=b"/Annots [5 0 R]")


def with_field(entries, *objects, flags=4):
    field = FIELD % (flags, entries)
    return pdf_page(TEXT, field, *objects, catalog=FORM, page=b"/Annots [5 0 R]")


# By kind: a PDF, what its text has, and the notes beside it.
DRAWN_PDFS = {
    "a field with an appearance": (
        with_field(b"/AP << /N 6 0 R >>", APPEARANCE),
        "EUR 94,000.00",
        [],
    ),
    "a field without one": (with_field(b""), "EUR 94,000.00", []),
    "a field that draws another value": (
        with_field(b"/AP << /N 6 0 R >>", OTHER),
        "EUR 9.40",
        [("The value of a field, which is not drawn", "EUR 94,000.00")],
    ),
    "a stamp": (with_note(b"/Subtype /Stamp /AP << /N 6 0 R >>", APPEARANCE), "EUR 94,000.00", []),
    "a text typed onto the page": (
        with_note(b"/Subtype /FreeText /DA (/F 12 Tf) /Contents (to EUR 1)"), "to EUR 1", []
    ),
    "larger points": (
        pdf_page(b"BT /F 1.8 Tf 7 72 Td (EUR 94,000.00) Tj ET", page=b"/UserUnit 10", box=b"0 0 61.2 79.2"),
        "EUR 94,000.00",
        [],
    ),
}  # fmt: skip
UNDRAWN_PDFS = {
    "a hidden field": (
        with_field(b"", flags=2),
        [("The value of a field, which is not drawn", "EUR 94,000.00")],
    ),
    "a note": (with_note(b"/Subtype /Text /Contents (Pay 5,000)"), [("A note", "Pay 5,000")]),
    "a link": (
        with_note(b"/Subtype /Link /A << /S /URI /URI (https://evil.example/) >>"),
        [("Links to", "https://evil.example/")],
    ),
    "text beside the page": (
        pdf_page(TEXT + b"BT /F 12 Tf 700 600 Td (and more) Tj ET"),
        [("Text outside of the page", "and more")],
    ),
    "text that is cut off": (
        pdf_page(TEXT + b"BT /F 12 Tf 72 100 Td (and more) Tj ET", page=b"/CropBox [0 400 612 792]"),
        [("Text outside of the page", "and more")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DRAWN_PDFS)
def test_pdf_is_drawn_with_fields_and_annotations_and_its_text_has_them(kind):
    content, words, notes = DRAWN_PDFS[kind]
    file = of_bytes(content)
    [page] = pdf_pages(file).pages
    assert words in page["text"]
    assert page["notes"] == notes
    picture = Image.open(io.BytesIO(parsed.page_picture(file, 1)))
    assert picture.size == (page["width"], page["height"]) == (1302, 1684)
    # The place where it is drawn has black points.
    assert picture.convert("L").crop((150, 100, 1000, 350)).getextrema()[0] < 100
    if "UserUnit" not in str(content):
        # Also where only the field or annotation is.
        assert picture.convert("L").crop((270, 195, 910, 325)).getextrema()[0] < 100


def test_what_a_pdf_does_not_draw_is_named():
    for kind, (content, notes) in UNDRAWN_PDFS.items():
        [page] = pdf_pages(of_bytes(content)).pages
        assert page["text"].strip() == "Payment order", kind
        assert page["notes"] == notes, kind
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"
    for content, flag in (
        (packed_pdf(b"<< /Pages 2 0 R %s >>" % SCRIPT, pages, page), "It contains JavaScript"),
        (packed_pdf(b"<< /Pages 2 0 R /A << /S /Launch >> >>", pages, page), "It can start a program."),
        (pdf_page(TEXT, b"<< /Type /OCG /Name (L) >>", catalog=LAYER), "It has a hidden layer"),
        (pdf_page(TEXT, b"<<>>", catalog=b"/AcroForm << /XFA 5 0 R >>"), "(XFA) that is not drawn"),
    ):  # fmt: skip
        [only] = of_bytes(content).seen["flags"]
        assert flag in only["sentence"]


def test_pdf_that_unpacks_to_too_much_is_not_read():
    line = b"BT /F 12 Tf 72 600 Td (a) Tj ET\n"

    def packed(size, *, times=1, end=None):
        content = line * (size // len(line))
        for _ in range(times):
            content = zlib.compress(content, 9)
        filters = b"/Filter [%s]" % (b"/FlateDecode " * times)
        plain = pdf_page(b"")
        return plain.replace(pdf_stream(b""), pdf_stream(content[:end], filters))

    most = pdf_renderings.MAX_UNPACKED
    assert not pdf_pages(of_bytes(packed(most // 4))).refusal
    for content in (
        packed(2 * most),
        packed(2 * most, times=2),
        # Its end is missing, which PDFium forgives.
        packed(2 * most, end=-4),
        # Many that are small.
        packed(most // 8) + packed(most // 8)[:-9] * 9,
    ):
        assert len(content) < 100_000
        assert SENTENCES["too_large"] in pdf_pages(of_bytes(content)).refusal


def words_of(content):
    """Return the words that the page shows for an Office file, with those of marks. A
    line is a paragraph, a heading or a cell.
    """
    page = document_of(of_bytes(content)).html
    lines = re.sub("</(?:p|h[1-6]|t[hd])>", "\\n", page.partition("<body>")[2])
    return unescape(re.sub("<[^>]*>", "", lines))


def runs(*pieces):
    return "".join(
        f"<w:r><w:rPr>{look}</w:rPr><w:t>{words}</w:t></w:r>" for words, look in pieces
    )


def paragraph(words, look=""):
    return f"<w:p><w:pPr>{look}</w:pPr>{runs((words, ''))}</w:p>"


def item(words, level):
    listed = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="7"/></w:numPr>'
    return paragraph(words, listed)


def level(number, kind, text):
    return (
        f'<w:lvl w:ilvl="{number}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/>'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
    )


NUMBERS = (
    '<w:abstractNum w:abstractNumId="3">'
    + level(0, "decimal", "%1.")
    + level(1, "lowerRoman", "%1.%2)")
    + '</w:abstractNum><w:num w:numId="7"><w:abstractNumId w:val="3"/></w:num>'
)
STYLE = '<w:style w:styleId="L"><w:pPr><w:numPr><w:numId w:val="7"/></w:numPr></w:pPr></w:style>'
BOX = "<w:r><w:pict><v:textbox><w:txbxContent>{}</w:txbxContent></v:textbox></w:pict></w:r>"
CELL = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p>{}</w:tc>"
INNER = f"<w:tbl><w:tr>{CELL.format('in', '')}</w:tr></w:tbl>"
CHART = "<c:chart><c:title><a:p><a:r><a:t>Costs</a:t></a:r></a:p></c:title><c:pt><c:v>4711</c:v></c:pt></c:chart>"
CHOICE = '<w:ddList><w:result w:val="1"/><w:listEntry w:val="no"/><w:listEntry w:val="EUR 9"/></w:ddList>'
SHAPE = "<sp><nvSpPr><cNvPr {}/><nvPr>{}</nvPr></nvSpPr><a:p><a:r><a:t>{}</a:t></a:r></a:p></sp>"
THREAD = "http://schemas.microsoft.com/office/2017/10/relationships/threadedComment"
ONE = '<sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData>'
WORD_FILES = {
    "a text box": (
        f"<w:p>{runs(('Box:', ''))}{BOX.format(paragraph('one') + paragraph('two'))}</w:p>", (), "Box:\none\ntwo\n"),
    "fields of a form": (
        f"<w:p><w:r><w:fldChar><w:ffData><w:checkBox><w:checked/></w:checkBox></w:ffData></w:fldChar><w:fldChar>"
        f"<w:ffData>{CHOICE}</w:ffData></w:fldChar></w:r></w:p>", (), "☒EUR 9\n"),
    "numbers of lists": (
        item("Sign", 0) + item("here", 1) + item("there", 1) + item("Pay", 0)
        + paragraph("Go", '<w:pStyle w:val="L"/>'),
        [("numbering", "n.xml", NUMBERS), ("styles", "st.xml", STYLE)],
        "1. Sign\n1.i) here\n1.ii) there\n2. Pay\n3. Go\n",
    ),
    "struck and raised": (
        "<w:p>" + runs(("We will ", ""), ("not ", "<w:strike/>"), ("pay 100", ""),
                       ("1", '<w:vertAlign w:val="superscript"/>')) + "</w:p>",
        (), "We will struck through: not pay 100raised: 1\n"),
    "rows that were deleted or inserted": (
        f"<w:tbl><w:tr><w:trPr><w:del/></w:trPr>{CELL.format('old', '')}</w:tr>"
        f"<w:tr><w:trPr><w:ins/></w:trPr>{CELL.format('new', '')}</w:tr></w:tbl>",
        (), "deleted: old\ninserted: new\n"),
    "a table in a cell, once": (
        f"<w:tbl><w:tr>{CELL.format('out', INNER)}</w:tr></w:tbl>",
        (), "approved.\nout\nin\n"),
    "charts, diagrams and watermarks": (
        paragraph("A"),
        [("chart", "c.xml", CHART), ("diagramData", "d.xml", "<a:p><a:r><a:t>top</a:t></a:r></a:p>"),
         ("header", "h.xml", '<w:p><w:r><w:pict><v:textpath string="NOT VALID"/></w:pict></w:r></w:p>')],
        "Chart\nCosts\n4711\nDiagram\ntop\nHeader\nNOT VALID\n"),
    "the words of a picture": (
        '<w:p><w:r><wp:docPr descr="Stamp: NO"/></w:r></w:p>', (), "picture: Stamp: NO\n"),
}  # fmt: skip
SHEET_FILES = {
    "comments in threads": (ONE, [(THREAD, "t.xml", "<t:text>Really?</t:text>")], "Comments\nReally?\n"),
    "text boxes and charts": (
        ONE, [("drawing", "d.xml", "<a:p><a:r><a:t>Box</a:t></a:r></a:p>"), ("chart", "c.xml", CHART)],
        "Drawing\nBox\nChart\nCosts\n4711\n"),
    "headers and prompts": (
        f'{ONE}<headerFooter><oddHeader>&amp;CDraft</oddHeader></headerFooter><dataValidations><dataValidation '
        'sqref="A1" prompt="Pay"/></dataValidations>', (), "oddHeader: &CDraft\nShown at A1:  Pay \n"),
    "looks in a cell": (
        '<sheetData><row r="1"><c r="A1" t="inlineStr"><is><r><t>pay </t></r><r><rPr><strike/></rPr><t>not</t></r></is>'
        "</c></row></sheetData>", (), "pay struck through: not\n"),
}  # fmt: skip
SLIDE_FILES = {
    "charts and comments": (
        "", [("chart", "c.xml", CHART), ("comments", "k.xml", "<cm><text>Really?</text></cm>")],
        "Chart\nCosts\n4711\nComments\nReally?\n"),
    "what a layout shows": (
        "", [("slideLayout", "l.xml",
              f"<spTree>{SHAPE.format('', '', 'Draft')}{SHAPE.format('', '<ph/>', 'Click')}</spTree>")],
        "Layout\nDraft\n"),
    "a hidden group": (
        f'<grpSp><nvGrpSpPr><cNvPr hidden="1"/></nvGrpSpPr>{SHAPE.format("", "", "Margin")}</grpSp>', (),
        "hidden: Margin\n"),
    "struck words": ('<a:p><a:r><a:rPr strike="sngStrike"/><a:t>not</a:t></a:r></a:p>', (), "struck through: not\n"),
}  # fmt: skip
OFFICE_FILES = {
    f"{kind}: {name}": (office_parts(kind, main, parts), words)
    for kind, files in (("docx", WORD_FILES), ("xlsx", SHEET_FILES), ("pptx", SLIDE_FILES))
    for name, (main, parts, words) in files.items()
}  # fmt: skip
SPAN = '<text:p>We will <text:span text:style-name="S">not </text:span>pay</text:p>'
LIST = "<text:list text:style-name='L'><text:list-item><text:p>Sign</text:p></text:list-item>"
LIST += "<text:list-item><text:p>Pay</text:p></text:list-item></text:list>"
NUMBERED = (
    "<text:list-style style:name='L'><text:list-level-style-number text:level='1'"
)
NUMBERED += " style:num-format='a' style:num-suffix=')'/></text:list-style>"
PAGE = "<draw:page draw:style-name='P'><draw:frame><text:p>Plan</text:p></draw:frame><presentation:notes><text:p>Say"
PAGE += "</text:p></presentation:notes></draw:page>"
CHANGES = "<text:changed-region text:id='c'><text:insertion/></text:changed-region><text:p>We <text:change-start "
CHANGES += (
    "text:change-id='c'/>gladly<text:change-end text:change-id='c'/> pay</text:p>"
)


def open_style(properties):
    return f"<style:style style:name='S'><style:text-properties {properties}/></style:style>"


OPEN_FILES = {
    "struck": (open_document(open_style("style:text-line-through-style='solid'") + SPAN), "struck through: not pay"),
    "white": (open_document(open_style("fo:color='#FFFFFF'") + SPAN), "white letters: not pay"),
    "inserted": (open_document(CHANGES), "We inserted: gladly pay"),
    "numbers of lists": (open_document(LIST, styles=NUMBERED), "a) Sign\nb) Pay\n"),
    "bullets": (open_document(LIST), "• Sign\n• Pay\n"),
    "footnotes": (
        open_document("<text:p>Pay<text:note><text:p>not</text:p></text:note> now</text:p>"), "Payfootnote: not now"),
    "text boxes": (
        open_document("<text:p>A<draw:text-box><text:p>one</text:p><text:p>two</text:p></draw:text-box></text:p>"),
        "A\none\ntwo\n"),
    "hidden slides and notes": (
        open_document("<style:style style:name='P'><style:p presentation:visibility='hidden'/></style:style>" + PAGE),
        "Slide 1 hidden\nPlan\nNotes of the speaker\nSay\n"),
    "objects": (open_document("<text:p>A</text:p>", Object_1="<text:p>Chart</text:p>"), "A\nObject_1\nChart\n"),
    "what a master shows": (
        open_document("", styles="<office:master-styles><style:master-page><style:header><text:p>Top</text:p>"
                      "</style:header><draw:frame><text:p>Draft</text:p></draw:frame></style:master-page>"
                      "</office:master-styles>"),
        "approved.\nHeader\nTop\nDraft\n"),
    "covered cells and shapes of a sheet": (
        open_document("<table:table><table:shapes><text:p>Box</text:p></table:shapes><table:table-row>"
                      "<table:table-cell><text:p>Wide</text:p></table:table-cell><table:covered-table-cell>"
                      "<text:p>Under</text:p></table:covered-table-cell></table:table-row></table:table>"),
        "Box\n\nA\nB\n1\nWide\nhidden: Under\n"),
    "fields of a form": (open_document("<form:text form:current-value='EUR 9'/>"), "EUR 9\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", {**OFFICE_FILES, **OPEN_FILES})
def test_office_file_shows_every_word_that_its_program_shows(name):
    content, words = {**OFFICE_FILES, **OPEN_FILES}[name]
    found = words_of(content)
    assert words in found
    assert "once" not in name or found.endswith(words)


def rewritten(content, old, new):
    """An Office file with another text in the names of its parts and in their XML."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as before,
        zipfile.ZipFile(packed, "w") as after,
    ):
        for name in before.namelist():
            xml = before.read(name).decode()
            after.writestr(name.replace(old, new), xml.replace(old, new))
    return packed.getvalue()


def test_parts_are_found_in_other_case_and_read_in_the_strict_form():
    chart = [("chart", "c.xml", CHART)]
    spelled = office_parts("docx", paragraph("One"), chart)
    spelled = rewritten(
        rewritten(spelled, "c.xml", "C.xml"), 'Target="C.', 'Target="c.'
    )
    assert "4711" in words_of(spelled)
    schemas = "http://schemas.openxmlformats.org/drawingml/2006"
    strict = office_parts("docx", '<w:p><wp:docPr descr="Map"/></w:p>', chart)
    for name in ("chart", "wordprocessingDrawing"):
        strict = rewritten(
            strict,
            f"{schemas}/{name}",
            f"http://purl.oclc.org/ooxml/drawingml/{name}",
        )
    assert "Map" in words_of(strict)
    assert "4711" in words_of(strict)


# The value of a cell, its number format, and what Excel shows.
FORMATS = (
    ("0.5", "0%", "50%"), ("-0.05", "0%", "-5%"), ("0.1225", "0.00%", "12.25%"),
    ("56701.03", '"$"#,##0.00', "$56,701.03"),
    ("1225", "#,##0.00\\ [$€-407]", "1,225.00 €"), ("-4", "0.00;[Red](0.00)", "(4.00)"), ("42", "00000", "00042"),
    ("3", '0 "of 9"', "3 of 9 (value: 3)"), ("1200", "0.0E+00", "1.2E+03 (value: 1200)"),
    ("-3", 'General" pcs"', "-3 pcs"),
    ("0.5", "0.##", "0.5"),
    ("0.30000000000000004", "", "0.3"), ("45000", "d mmm yyyy", "15 Mar 2023"), ("45000.75", "h:mm AM/PM", "06:00 PM"),
    ("45000.5", "dd/mm/yy hh:mm", "15/03/23 12:00"), ("1.5", "[h]:mm", "36:00"), ("-5", '_-* #,##0 "€"_-', "-5 €"),
    ("0", '0;-0;"none"', "none (value: 0)"), ("9900", "0,", "10 (value: 9900)"), ("9900", ";;;", " (value: 9900)"),
    ("5", '"Pay 9900"', "Pay 9900 (value: 5)"), ("0.75", "# ?/?", "0.75 (format: # ?/?)"),
    ("5", '[<9]"few";0', '5 (format: [<9]"few";0)'), ("123", "000-00", "123 (format: 000-00)"),
    ("x", "0", "x (format: 0)"), ("1e999999999", "0", "1e999999999 (format: 0)"),
    ("1e99", "yyyy", "1e99 (format: yyyy)"),
)  # fmt: skip


def test_cells_show_their_value_as_excel_formats_it():
    for value, code, text in FORMATS:
        assert "".join(shown(value, code)) == text, (value, code)
    styles = f"""<numFmts><numFmt numFmtId="170" formatCode="{escape(';;;"Pay 9"')}"/></numFmts><fonts><font/><font>
        <color rgb="FFFFFFFF"/></font></fonts>
        <cellXfs><xf/><xf numFmtId="10"/><xf numFmtId="170" fontId="1"/><xf numFmtId="15"/></cellXfs>"""
    row = '<c r="A1" s="1"><v>0.5</v></c><c r="B1" s="2" t="str"><v>no</v></c>'
    row += '<c r="C1" s="3"><v>45000</v></c>'
    file = office_parts(
        "xlsx", f"<sheetData><row>{row}</row></sheetData>", beside=styles
    )
    assert '50.00%\nwhite letters: no (format: ;;;"Pay 9")\n15-Mar-23\n' in words_of(
        file
    )


@pytest.mark.slow
def test_no_part_of_a_document_is_shown_as_a_whole_one():
    for content, words in (*list(OFFICE_FILES.values())[::3], *OPEN_FILES.values()):
        for size in range(0, len(content), 1 + len(content) // 40):
            assert words not in words_of(content[:size]), size
    # What is packed does not fit into the memory, so nobody knows what is in it.
    bomb = of_bytes(packed_pdf(b"<< >>", b"(" + bytes(200 * 1024 * 1024) + b")"))
    assert "could not be read safely" in bomb.seen["flags"][0]["sentence"]
    content, words, _ = DRAWN_PDFS["a field without one"]
    for size in range(0, len(content), 30):
        shown_pages = pdf_pages(of_bytes(content[:size]))
        assert shown_pages.refusal or words in shown_pages.pages[0]["text"], size
