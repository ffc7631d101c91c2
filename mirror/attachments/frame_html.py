"""Makes the documents that a frame shows of an attached file. Pure; whatever the file
says is escaped here.
"""

import base64
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rendering.invisibles import Tally, named, without_surrogates
from rendering.source_view import framed, marked

STYLE = Path(__file__).resolve().parents[2] / "static" / "css" / "part.css"
# Text beyond this is not shown; a note says so, and the file can be downloaded.
MAX_TEXT = 200_000
RENDERING = "A rendering. The file itself is what is approved."


# What stands before text with a mark, and its class.
_MARKS = {
    "hidden": ("hidden", "ghost"),
    "white": ("white letters", "ghost"),
    "tiny": ("tiny letters", "ghost"),
    "deleted": ("deleted", "ghost"),
    "inserted": ("inserted", "said"),
    "field": ("field code", "said"),
    "link": ("links to", "said"),
    "note": ("", "said"),
}


def document(body: str) -> str:
    """Return a whole document around trusted HTML."""
    return framed("Attached file", STYLE, f"<body>{body}</body>")


def sentence(text: str) -> str:
    """Return a paragraph of ours."""
    return f'<p class="ours">{html.escape(text)}</p>'


def as_text(content: bytes, encoding: str) -> str:
    """Return a text file, with characters that show nothing named."""
    text = without_surrogates(content.decode(encoding, "replace"))
    tally = Tally()
    left = len(text) - MAX_TEXT
    shown = marked(text[:MAX_TEXT], tally)
    page = f"<pre>{shown}</pre>"
    if left > 0:
        page += f"<p>{left:,} more characters are left out here. Download the file to read them.</p>"
    if tally.unmarked:
        page += (
            f"<p>{tally.unmarked:,} more invisible characters are left out here.</p>"
        )
    return page


def as_picture(
    content: bytes, kind: str, name: str, facts: Iterable[Iterable[Any]] | None
) -> str:
    """Return a picture with what else its file carries; None for facts that could not
    be read.
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


def as_outline(found: Mapping[str, Any]) -> str:
    """Return an Office file's text and tables."""
    tally = Tally()
    notes = "".join(
        f'<p class="ours warn">{marked(str(note), tally)}</p>'
        for note in found.get("notes", ())
    )
    blocks = "".join(_block(block, tally) for block in found.get("blocks", ()))
    return sentence(RENDERING) + notes + (blocks or sentence("It contains no text."))


def _block(block: Mapping[str, Any], tally: Tally) -> str:
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
    hidden = [bool(column["mark"]) for column in block["columns"]]
    rows = ""
    for row in block["rows"]:
        rows += "<tr>"
        if heads:
            rows += (
                f'<th scope="row">{marked(str(row["name"]), tally)}{_chip(row)}</th>'
            )
        for number, cell in enumerate(row["cells"]):
            is_hidden = row["mark"] or (number < len(hidden) and hidden[number])
            words = _runs(cell["runs"], tally)
            if cell["formula"]:
                words += f"<code>{marked(str(cell['formula']), tally)}</code>"
            rows += f"<td{' class=shut' if is_hidden else ''}>{words}</td>"
        rows += "</tr>"
    more = ""
    if block["left_out"]:
        more = sentence(f"{int(block['left_out']):,} more rows are left out here.")
    # What scrolls must be reached by keyboard; a landmark each table is not.
    region = '<div class="wide" role="group" aria-label="Table" tabindex="0">'
    return f"{region}<table>{head}<tbody>{rows}</tbody></table></div>{more}"


def _runs(runs: Iterable[Iterable[Any]], tally: Tally) -> str:
    shown = ""
    for text, mark in runs:
        inner = marked(str(text), tally)
        label, kind = _MARKS.get(str(mark), ("", ""))
        if label:
            inner = f"<b>{label}:</b> {inner}"
        shown += f'<span class="{kind}">{inner}</span>' if kind else inner
    return shown


def _chip(block: Mapping[str, Any]) -> str:
    mark = html.escape(str(block.get("mark") or ""))
    return mark and f' <span class="ghost">{mark}</span>'
