"""Rewrites a message's HTML into a plain form with one meaning only, keeping what a recipient could see.

Scripts, frames, forms, foreign markup and everything that loads or acts is left out here and written down: as a note
at its place, as something blocked, as hidden text. Style sheets are worked into the elements. What comes out holds no
comments, no raw text, no attributes of the message's own but understood styles, so that no two parsers read it apart.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rendering.elements import (
    BREAKS_OUT,
    FOREIGN,
    INSIDE_FOREIGN,
    LABELLED,
    LABELS,
    PASSED_OVER,
    PICTURE_ATTRIBUTES,
    PICTURE_LABELS,
    RAW_SHOWN,
    Load,
    blocked_load,
    labels_in,
    load_label,
    load_target,
    loads_of,
    restyles,
    written_as,
)
from rendering.html_reading import VOID, Nesting, Token, decode, decode_attribute, tokens
from rendering.layout_boxes import box_reason
from rendering.links import host_of
from rendering.pictures import MAX_ALL_FETCHED, MAX_ALL_PICTURES, MAX_PIXELS, Picture, drawable
from rendering.reading_order import lies_elsewhere
from rendering.result import Blocked, Doubt, FetchedPicture, Hidden, RemotePicture
from rendering.styling import Styled, Styling, names_of_tag, written_style
from rendering.tracking import needles, tracking_reason, web_address

_OPENING = re.compile(r"\[\s{0,20}if\b[^\]]{0,200}\]\s{0,20}>", re.IGNORECASE)
_CLOSING = re.compile(r"<!\s{0,20}\[\s{0,20}endif", re.IGNORECASE)
_ANY_TAG = re.compile(r"<[^<>]*>")


class Conditional(NamedTuple):
    """What Outlook shows and loads of a conditional comment."""

    text: str
    links: list[tuple[str, str]]
    fetched: list[Load]


def conditional(comment: str) -> Conditional | None:
    """Return what Outlook shows of a comment; None where it shows nothing."""
    inside = "".join(_insides(comment))
    if not inside:
        return None
    text = without_tags(inside)
    links: list[tuple[str, str]] = []
    fetched: list[Load] = []
    try:
        for token in tokens(inside):
            if token.kind != "start":
                continue
            fetched += loads_of(token.name, token.attributes)
            if token.name in ("a", "area") and "href" in token.attributes:
                links.append((text, decode_attribute(token.attributes["href"])))
    except Doubt:
        pass  # Its text is announced all the same.
    return Conditional(text, links, fetched)


def _insides(comment: str) -> Iterator[str]:
    """Yield the conditional parts of a comment; one that is not closed ends with the comment."""
    at = 0
    while opening := _OPENING.search(comment, at):
        closing = _CLOSING.search(comment, opening.end())
        at = closing.end() if closing else len(comment)
        yield f" {comment[opening.end() : closing.start() if closing else at]} "


def without_tags(text: str) -> str:
    """Return the text of some markup, on one line."""
    return " ".join(decode(_ANY_TAG.sub(" ", text)).split())


MAX_TAGS = 20_000
_NEVER_DRAWN = frozenset("html head body base link meta script style param source track noscript area title".split())


@dataclass(frozen=True)
class Note:
    """A label drawn in position: `blocked` for what was left out, `ghost` for what is not as it seems.

    `about` is the index of its finding among hidden texts or blocked loads; `labels` are the titles and texts of the
    picture that it replaces. `remote` is the index of the remote picture that it stands for, which is not shown.
    """

    kind: str
    label: str
    about: int | None = None
    labels: tuple[str, ...] = ()
    remote: int | None = None


@dataclass
class Canonical:
    """A message in its plain form, and what was found on the way."""

    html: str = ""
    root: list[tuple[str, Styled]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    labels: dict[tuple[str, ...], int] = field(default_factory=dict)
    areas: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    pictures: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    remote: list[RemotePicture] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    removed: Counter[str] = field(default_factory=Counter)
    comments: int = 0
    base: str = ""


def canonicalise(
    source: str, *, readers: Iterable[str] = (), fetched: Mapping[str, FetchedPicture] | None = None
) -> Canonical:
    """Return the plain form of a message's HTML. Raises Doubt when it cannot be followed within bounds.

    `readers` are the mail addresses of its recipients; `fetched` is what the desk has of its remote pictures.
    """
    if source.count("<") > MAX_TAGS:
        raise Doubt(f"it has more than {MAX_TAGS} tags")
    return _Writer(list(tokens(source)), needles(readers), fetched or {}).written()


class _Writer:
    """Goes through the tokens once to read the style sheets, and once to write."""

    def __init__(self, found: list[Token], readers: frozenset[str], fetched: Mapping[str, FetchedPicture]) -> None:
        self.tokens = found
        self.readers = readers
        self.fetched = fetched
        self.styling = Styling()
        self.nesting = Nesting()
        self.out: list[str] = []
        self.result = Canonical()
        self.root_names: frozenset[str] = frozenset()
        self.drawn = 0
        self.pixels = 0
        self.drawn_fetched = 0

    def written(self) -> Canonical:
        self._read_sheets()
        for token in self.tokens:
            getattr(self, f"_on_{token.kind}")(token)
        self.result.html = "".join(self.out)
        return self.result

    def _read_sheets(self) -> None:
        self.styling.read(self.tokens)
        self.root_names = frozenset(
            name for t in self.tokens if t.kind == "start" and t.name in ("html", "body") for name in names_of_tag(t)
        )
        for kind, url in self.styling.sheets.fetched:
            self._blocked(kind, url, quiet=True)
        for added, label in self.styling.added(self.tokens):
            self._hidden(added, label)
        self.result.root = [
            (name, self.styling.of(Token("start", name, "", self._first_of(name)))) for name in ("html", "body")
        ]

    def _first_of(self, name: str) -> dict[str, str]:
        """Return the attributes of all tags of this name: a later one adds what the first lacks, as in browsers."""
        merged: dict[str, str] = {}
        for token in self.tokens:
            if token.kind == "start" and token.name == name:
                merged = {**token.attributes, **merged}
        return merged

    def _on_text(self, token: Token) -> None:
        if not token.data.isspace():
            self.nesting.text()
        self.out.append(html.escape(token.data, quote=False))

    def _on_comment(self, token: Token) -> None:
        self.result.comments += 1
        seen = conditional(token.data)
        if seen is None:
            return
        for load in seen.fetched:
            self._blocked(load.kind, load.url, quiet=True)
        self.result.areas += [((text,), target) for text, target in seen.links]
        if seen.text:
            targets = "".join(f" <{target}>" for _, target in seen.links)
            hidden = Hidden(seen.text, "comment that only Outlook shows", certain=False)
            self._hidden(hidden, f"only Outlook shows: “{seen.text}”{targets}")

    def _on_lost(self, token: Token) -> None:
        text = without_tags(token.data)
        if text:
            self._hidden(Hidden(text, f"inside {token.name}"), f"hidden text inside {token.name}: “{text}”")

    def _on_raw(self, token: Token) -> None:
        text = token.data.strip()
        if token.name in RAW_SHOWN:
            self._on_text(Token("text", "", token.data))
        elif token.name == "title" and text:
            self._note("blocked", f"title, which mail programs do not show: “{' '.join(text.split())}”")
        elif token.name in ("noembed", "noframes", "iframe") and text:
            text = without_tags(text)
            hidden = Hidden(text, f"inside <{token.name}>", certain=False)
            self._hidden(hidden, f"hidden text inside <{token.name}>: “{text}”")

    def _on_end(self, token: Token) -> None:
        if token.name == "br":
            self._on_start(token)
        if token.name in PASSED_OVER or token.name in VOID:
            return
        written = written_as(token.name)
        if self.nesting.end(token.name, written):
            self.out.append(f"</{written}>")

    def _on_start(self, token: Token) -> None:
        attributes = token.attributes
        for load in loads_of(token.name, attributes):
            self._blocked(load.kind, load.url, quiet=load.quiet)
        if label := attributes.get(LABELLED.get(token.name, ""), ""):
            self._note("blocked", f"{token.name}: “{decode_attribute(label)}”")
        if token.name in PASSED_OVER or token.name in ("hr", "col", "colgroup"):
            self._note_overlay(token)
        if token.name in PASSED_OVER:
            self._pass_over(token)
            return
        if token.name != "font" or attributes.keys() & {"color", "face", "size"}:
            self._break_out(token.name)
        if token.name in FOREIGN:
            self._note("blocked", f"drawing not shown ({token.name})")
            self.result.removed[token.name] += 1
        written = written_as(token.name)
        marks = self._marks(token)
        if written in ("a", "nobr") and self.nesting.end(written, written):
            self.out.append(f"</{written}>")
        if written in VOID:
            marks = ""
        if self.nesting.start(token.name, written, f"{token.name}{marks}", names_of_tag(token)):
            self.out.append(f"<{written}{marks}>")

    def _around(self) -> frozenset[str] | None:
        around = self.nesting.around()
        return None if around is None else around | self.root_names

    def _note_overlay(self, token: Token) -> None:
        """Note an element without text that may cover or hide the text of others."""
        if token.name in _NEVER_DRAWN or not (token.attributes or self.styling.sheets.rules):
            return
        style, why, _, doubted, is_unclear = self.styling.of(token, self._around())
        if why or style.get("display") == "none":
            return
        if token.name in ("col", "colgroup"):
            is_plain = not is_unclear and not ({"visibility", "background", "background-color"} & {*style, *doubted})
            how = "" if is_plain else "a column of a table that may be hidden or painted"
        else:
            elsewhere = lies_elsewhere(style) or lies_elsewhere({**style, **doubted})
            elsewhere = elsewhere or ("by a style that the desk does not evaluate" if is_unclear else "")
            how = f"a picture or box that may lie over other text ({elsewhere})" if elsewhere else ""
        if how:
            self._hidden(Hidden("", how, certain=False), how)

    def _break_out(self, name: str) -> None:
        """End a drawing at an ordinary tag inside it, except where HTML may continue inside the drawing."""
        if name not in BREAKS_OUT or not self.nesting.count["span"]:
            return
        for element in reversed(self.nesting.open):
            if element.name in INSIDE_FOREIGN:
                return
            if element.name in FOREIGN:
                self.nesting.end(element.name, "span")
                self.out.append("</span>")
                return

    def _pass_over(self, token: Token) -> None:
        name, attributes = token.name, token.attributes
        if name in ("img", "image"):
            self._picture(token)
        elif how := restyles(token):
            self._hidden(Hidden("", how, certain=False), how)
        elif name == "base" and not self.result.base:
            self.result.base = decode_attribute(attributes.get("href", ""))
        elif name == "area" and "href" in attributes:
            target = decode_attribute(attributes["href"])
            self.result.areas.append((labels_in(attributes, PICTURE_LABELS), target))
            self._note("blocked", f"part of a picture is a link to {target}")
        elif name == "input" and attributes.get("type", "").lower() not in ("hidden", "image"):
            value = decode_attribute(attributes.get("value") or attributes.get("placeholder", ""))
            self._note("blocked", f"form field: “{value}”" if value.strip() else "form field")
        if name not in ("html", "head", "body", "noscript", "img", "image", "meta", "title"):
            self.result.removed[name] += 1

    def _picture(self, token: Token) -> None:
        attributes = {n: decode_attribute(v) for n, v in token.attributes.items() if n in PICTURE_ATTRIBUTES}
        source = attributes.get("src", "")
        drawn, pixels = drawable(source) if source.lstrip()[:5].lower() == "data:" else Picture()
        style, why, *_ = self.styling.of(token)
        hidden = why or box_reason(style)
        fits = self.drawn + len(drawn) <= MAX_ALL_PICTURES and self.pixels + pixels <= MAX_PIXELS
        if drawn and fits and not hidden:
            self.drawn += len(drawn)
            self._draw(drawn, pixels, attributes)
            return
        says = " ".join(attributes.get("alt", "").split())
        suffix = f" (in its place: “{says}”)" if says else ""
        labels = labels_in(token.attributes, PICTURE_LABELS)
        remote = [load.url for load in loads_of(token.name, token.attributes) if load.kind == "picture"]
        if remote:
            address = web_address(remote[0])
            tracking = "it is hidden" if hidden else tracking_reason(address, attributes, style, self.readers)
            self.result.remote.append(RemotePicture(address, host_of(address), tracking))
            self._remote(blocked_load("picture", remote[0]), attributes, suffix, labels)
        elif source.lower().startswith("cid:"):
            self._note("blocked", f"attached picture, not shown here: {source[4:200]}{suffix}", labels)
        elif source or says:
            self._note("blocked", f"picture not shown{suffix}", labels)

    def _draw(self, source: str, pixels: int, attributes: Mapping[str, str]) -> None:
        self.pixels += pixels
        self.result.pictures.append((source, attributes))
        self.nesting.start("img", "img", "")
        self.out.append(f'<img data-picture="{len(self.result.pictures) - 1}">')

    def _remote(self, blocked: Blocked, attributes: Mapping[str, str], suffix: str, labels: tuple[str, ...]) -> None:
        """Write the remote picture that was found last: drawn as the desk fetched it, or a label in its place."""
        picture, target = self.result.remote[-1], load_target(blocked)
        found = None if picture.tracking else self.fetched.get(picture.url)
        if found is not None and found.source:
            all_fetched = self.drawn_fetched + len(found.source)
            if all_fetched <= MAX_ALL_FETCHED and self.pixels + found.pixels <= MAX_PIXELS:
                self.drawn_fetched = all_fetched
                self._draw(found.source, found.pixels, attributes)
                self.out.append("<br>")
                self._note("blocked", f"picture from {picture.host}, {found.outcome}", is_load=True)
                return
            found = FetchedPicture("fetched by the desk; there is no room to draw it here")
        reason = f"tracking pixel: {picture.tracking}" if picture.tracking else found.outcome if found else ""
        label = f"remote picture not loaded: {target}{f' ({reason})' if reason else ''}{suffix}"
        self._note("blocked", label, labels, is_load=True, remote=len(self.result.remote) - 1)

    def _blocked(self, kind: str, url: str, *, quiet: bool) -> None:
        blocked = blocked_load(kind, url)
        self.result.blocked.append(blocked)
        if not quiet:
            self._note("blocked", load_label(blocked), is_load=True)

    def _hidden(self, hidden: Hidden, label: str) -> None:
        """Note hidden text, and put its label here."""
        self.result.hidden.append(hidden)
        self._note("ghost", label)

    def _note(
        self, kind: str, label: str, labels: tuple[str, ...] = (), *, is_load: bool = False, remote: int | None = None
    ) -> None:
        """Put a label here: about the load blocked last, or about the hidden text found last."""
        self.nesting.start("img", "img", "")
        found = len(self.result.blocked) if is_load else len(self.result.hidden) if kind == "ghost" else 0
        self.result.notes.append(Note(kind, label, found - 1 if found else None, labels, remote))
        self.out.append(f'<img data-note="{len(self.result.notes) - 1}">')

    def _marks(self, token: Token) -> str:
        """Return the attributes that this element takes into the tree: our own marks and its understood style."""
        style, why, maybe, doubted, _ = self.styling.of(token, self._around())
        marks = ""
        if token.name == "a" and "href" in token.attributes:
            self.result.links.append(decode_attribute(token.attributes["href"]))
            marks += f' data-link="{len(self.result.links) - 1}"'
        if labels := labels_in(token.attributes, LABELS):
            # Equal labels share a number, so that elements which the standard takes for equal stay equal.
            marks += f' data-labels="{self.result.labels.setdefault(labels, len(self.result.labels))}"'
        for name, held in (("style", style), ("data-doubted", doubted)):
            marks += f' {name}="{html.escape(written_style(held))}"' if held else ""
        marks += f' data-why="{html.escape(why)}"' if why else ""
        marks += f' data-maybe="{html.escape(maybe)}"' if maybe else ""
        for name in ("colspan", "rowspan", "start", *(("value",) if token.name == "li" else ())):
            value = token.attributes.get(name, "")
            most = 9 if name in ("start", "value") else 3
            marks += f' {name}="{value}"' if value.isascii() and value.isdigit() and len(value) <= most else ""
        return marks
