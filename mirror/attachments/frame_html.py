"""Makes the documents that a frame shows of an attached file. Pure; whatever the file
says is escaped here.
"""

import base64
import html
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rendering.invisibles import Tally, named, pieces, without_surrogates

STYLE = Path(__file__).resolve().parents[2] / "static" / "css" / "part.css"
# Text beyond this is not shown; a note says so, and the file can be downloaded.
MAX_TEXT = 200_000
RENDERING = "A rendering. The file itself is what is approved."

_DOCUMENT = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Attached file</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="referrer" content="no-referrer"><style>{style}</style></head><body>{body}</body></html>'
)
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
    return _DOCUMENT.replace("{style}", _style()).replace("{body}", body)


@cache
def _style() -> str:
    return STYLE.read_text(encoding="utf-8")


def sentence(text: str) -> str:
    """Return a paragraph of ours."""
    return f'<p class="ours">{html.escape(text)}</p>'


def as_text(content: bytes, encoding: str) -> str:
    """Return a text file, with characters that show nothing named."""
    text = without_surrogates(content.decode(encoding, "replace"))
    tally = Tally()
    left = len(text) - MAX_TEXT
    shown = _marked(text[:MAX_TEXT], tally)
    notes = (
        [f"{left:,} more characters are left out here. Download the file to read them."]
        if left > 0
        else []
    )
    if tally.unmarked:
        notes.append(f"{tally.unmarked:,} more invisible characters are left out here.")
    return f"<pre>{shown}</pre>" + "".join(f"<p>{note}</p>" for note in notes)


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
        f"<dt>{_marked(str(key), tally)}</dt><dd>{_marked(str(value), tally)}</dd>"
        for key, value in facts
    )
    if not rows:
        return figure + sentence(
            "The file has no metadata: no camera, place, dates or text."
        )
    return f"{figure}<h2>Metadata in the file</h2><dl>{rows}</dl>"


def as_outline(found: Mapping[str, Any]) -> str:
    """Return an Office file's text and tables."""
    tally = Tally()
    notes = "".join(
        f'<p class="ours warn">{_marked(str(note), tally)}</p>'
        for note in found.get("notes", ())
    )
    blocks = "".join(_block(block, tally) for block in found.get("blocks", ()))
    return sentence(RENDERING) + notes + (blocks or sentence("It contains no text."))


def _block(block: Mapping[str, Any], tally: Tally) -> str:
    if "heading" in block:
        level = min(max(int(block["level"]), 2), 6)
        return f"<h{level}>{_marked(str(block['heading']), tally)}{_chip(block)}</h{level}>"
    if "runs" in block:
        return f'<p class="words">{_runs(block["runs"], tally)}</p>'
    heads = "".join(
        f'<th scope="col">{_marked(str(one["name"]), tally)}{_chip(one)}</th>'
        for one in block["columns"]
    )
    head = f"<thead><tr><td></td>{heads}</tr></thead>" if heads else ""
    rows = "".join(_row(row, block["columns"], tally) for row in block["rows"])
    more = (
        sentence(f"{int(block['left_out']):,} more rows are left out here.")
        if block["left_out"]
        else ""
    )
    # What scrolls must be reached by keyboard; a landmark each table is not.
    region = '<div class="wide" role="group" aria-label="Table" tabindex="0">'
    return f"{region}<table>{head}<tbody>{rows}</tbody></table></div>{more}"


def _row(row: Mapping[str, Any], columns: list[Mapping[str, Any]], tally: Tally) -> str:
    cells = ""
    for number, cell in enumerate(row["cells"]):
        is_hidden = row["mark"] or (number < len(columns) and columns[number]["mark"])
        formula = (
            f"<code>{_marked(str(cell['formula']), tally)}</code>"
            if cell.get("formula")
            else ""
        )
        cells += f"<td{' class=shut' if is_hidden else ''}>{_runs(cell['runs'], tally)}{formula}</td>"
    head = (
        f'<th scope="row">{_marked(str(row["name"]), tally)}{_chip(row)}</th>'
        if columns
        else ""
    )
    return f"<tr>{head}{cells}</tr>"


def _runs(runs: Iterable[Iterable[Any]], tally: Tally) -> str:
    shown = ""
    for text, mark in runs:
        inner = _marked(str(text), tally)
        label, kind = _MARKS.get(str(mark), ("", ""))
        if label:
            inner = f"<b>{label}:</b> {inner}"
        shown += f'<span class="{kind}">{inner}</span>' if kind else inner
    return shown


def _chip(block: Mapping[str, Any]) -> str:
    return (
        f' <span class="ghost">{html.escape(str(block["mark"]))}</span>'
        if block.get("mark")
        else ""
    )


def _marked(text: str, tally: Tally) -> str:
    return "".join(
        f'<span class="ghost">{html.escape(piece)}</span>'
        if is_mark
        else html.escape(piece)
        for is_mark, piece in pieces(without_surrogates(text), tally)
    )
