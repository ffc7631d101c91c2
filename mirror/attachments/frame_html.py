"""Makes the HTML document that shows an attached file in a frame: as text, as a picture
with its metadata, or as headings and tables. All text from the file is escaped here.
"""

import base64
import html
from collections.abc import Iterable
from typing import Any

from common.tables import table_rows
from common.unique_keys import Json
from rendering.invisibles import Tally, named, without_surrogates
from rendering.source_view import STYLES, framed, marked

_STYLE = (STYLES / "part.css").read_text("utf-8")
# In characters. If a text is longer, a note says so, and the file can be downloaded.
MAX_TEXT = 200_000
RENDERING = "A rendering. The file itself is what is approved."


# By the mark of a run of text: the words shown before it, and its CSS class.
_MARKS = {
    mark: (words, kind)
    for mark, words, kind in table_rows("""
hidden   | hidden | ghost
white    | white letters | ghost
tiny     | tiny letters | ghost
deleted  | deleted | ghost
inserted | inserted | said
struck   | struck through | ghost
raised   | raised | said
comment  | comment | said
footnote | footnote | said
picture  | picture | said
field    | field code | said
link     | links to | said
note     |  | said
""")
}


def document(body: str) -> str:
    """Return a whole document with this HTML, which must be safe, in its body."""
    return framed("Attached file", _STYLE, f"<body>{body}</body>")


def sentence(text: str) -> str:
    """Return a paragraph with the desk's own words."""
    return f'<p class="ours">{html.escape(text)}</p>'


def as_text(content: bytes, encoding: str) -> str:
    """Return a text file as HTML, with invisible characters made visible by their names."""
    text = without_surrogates(content.decode(encoding, "replace"))
    tally = Tally()
    left_out = len(text) - MAX_TEXT
    page = f"<pre>{marked(text[:MAX_TEXT], tally)}</pre>"
    if left_out > 0:
        page += f"<p>{left_out:,} more characters are left out here. Download the file to read them.</p>"
    if tally.unmarked:
        page += (
            f"<p>{tally.unmarked:,} more invisible characters are left out here.</p>"
        )
    return page


def as_picture(
    content: bytes, kind: str, name: str, facts: Iterable[Iterable[Any]] | None
) -> str:
    """Return a picture as HTML, with its metadata: pairs of a name and a value, or None
    if they could not be read.
    """
    data = base64.b64encode(content).decode()
    label = html.escape(named(without_surrogates(name)), quote=True)
    figure = (
        f'<figure><img alt="{label}" src="data:image/{kind};base64,{data}"></figure>'
    )
    if facts is None:
        return figure + sentence("Its metadata could not be read.")
    tally = Tally()
    rows = "".join(
        f"<dt>{marked(str(key), tally)}</dt><dd>{marked(str(value), tally)}</dd>"
        for key, value in facts
    )
    if not rows:
        return figure + sentence(
            "No metadata was found: no camera, place, dates or text."
        )
    return f"{figure}<h2>Metadata in the file</h2><dl>{rows}</dl>"


def as_outline(outline: Json) -> str:
    """Return the outline of an Office file as HTML: its text and tables."""
    tally = Tally()
    notes = "".join(
        f'<p class="ours warn">{marked(str(note), tally)}</p>'
        for note in outline.get("notes", ())
    )
    blocks = "".join(_block(block, tally) for block in outline.get("blocks", ()))
    if tally.unmarked:
        blocks += sentence(
            f"{tally.unmarked:,} more invisible characters are left out here."
        )
    return sentence(RENDERING) + notes + (blocks or sentence("It contains no text."))


def _block(block: Json, tally: Tally) -> str:
    # A heading, a paragraph or a table of an outline as HTML.
    if "heading" in block:
        level = min(max(int(block["level"]), 2), 6)
        return (
            f"<h{level}>{marked(str(block['heading']), tally)}{_chip(block)}</h{level}>"
        )
    if "runs" in block:
        return f'<p class="words">{_runs(block["runs"], tally)}</p>'
    heads = "".join(
        f'<th scope="col">{marked(str(one["name"]), tally)}{_chip(one)}</th>'
        for one in block["columns"]
    )
    head = f"<thead><tr><td></td>{heads}</tr></thead>" if heads else ""
    hidden = [column["mark"] for column in block["columns"]]
    rows = ""
    for row in block["rows"]:
        rows += "<tr>"
        if heads:
            rows += (
                f'<th scope="row">{marked(str(row["name"]), tally)}{_chip(row)}</th>'
            )
        for number, cell in enumerate(row["cells"]):
            is_hidden = row["mark"] or (number < len(hidden) and hidden[number])
            text = _runs(cell["runs"], tally)
            if cell["formula"]:
                text += f"<code>{marked(str(cell['formula']), tally)}</code>"
            rows += f"<td{' class=shut' if is_hidden else ''}>{text}</td>"
        rows += "</tr>"
    more = ""
    if block["left_out"]:
        more = sentence(f"{int(block['left_out']):,} more rows are left out here.")
    # A table may scroll, so it must be reachable by keyboard. It is a group, because so
    # many landmarks would not help people who use a screen reader.
    region = '<div class="wide" role="group" aria-label="Table" tabindex="0">'
    return f"{region}<table>{head}<tbody>{rows}</tbody></table></div>{more}"


def _runs(runs: Iterable[Iterable[Any]], tally: Tally) -> str:
    # Pieces of text as HTML, each with the words of its mark before it.
    html_text = ""
    for text, mark in runs:
        inner = marked(str(text), tally)
        label, kind = _MARKS.get(str(mark), ("", ""))
        if label:
            inner = f"<b>{label}:</b> {inner}"
        html_text += f'<span class="{kind}">{inner}</span>' if kind else inner
    return html_text


def _chip(block: Json) -> str:
    # The mark of a heading, row or column, such as "hidden".
    mark = html.escape(str(block.get("mark") or ""))
    return mark and f' <span class="ghost">{mark}</span>'
