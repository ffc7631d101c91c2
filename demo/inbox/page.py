"""The inbox pages: a list of what was delivered, and one message. Shows source, never
renders a mail's HTML, and never raises on a malformed message.
"""

import hashlib
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses
from html import escape
from urllib.parse import quote

from demo.discord.markdown import time_element
from demo.inbox.maildir import Maildir
from demo.web import fill

MOST_SHOWN = 200_000
_HEADERS_OF_OURS = ("x-envelope-from", "x-envelope-to")


@dataclass(frozen=True)
class Summary:
    """A line of the list."""

    key: str
    received_at: datetime
    sender: str
    envelope_to: tuple[str, ...]
    subject: str


@dataclass(frozen=True)
class File:
    """An attachment, by what identifies it."""

    name: str
    content_type: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Mail:
    """A whole message."""

    summary: Summary
    envelope_from: str
    to: str
    cc: str
    named: frozenset[str]
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str
    files: tuple[File, ...]


def summarise(key: str, content: bytes) -> Summary:
    """Return what the list shows; the body is not parsed."""
    return _summary(key, BytesHeaderParser().parsebytes(content))


def read_mail(key: str, content: bytes) -> Mail:
    """Return everything the page shows."""
    message = message_from_bytes(content)
    summary = _summary(key, message)
    files = []
    for part in filter(_is_file, _leaves(message)):
        content = _bytes(part)
        files.append(
            File(
                name=_decoded(part.get_filename() or "(no name)"),
                content_type=part.get_content_type(),
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    named = getaddresses([_header(message, "To"), _header(message, "Cc")])
    return Mail(
        summary=summary,
        envelope_from=_header(message, "X-Envelope-From"),
        to=_header(message, "To"),
        cc=_header(message, "Cc"),
        named=frozenset(address.lower() for _, address in named if address),
        headers=tuple(
            (name, _decoded(value))
            for name, value in message.items()
            if name.lower() not in _HEADERS_OF_OURS
        ),
        text=_body(message, "text/plain"),
        html=_body(message, "text/html"),
        files=tuple(files),
    )


def _summary(key: str, message: Message) -> Summary:
    recipients = _header(message, "X-Envelope-To").split(",")
    seconds = key.partition(".")[0]
    return Summary(
        key=key,
        received_at=datetime.fromtimestamp(
            int(seconds) if seconds.isascii() and seconds.isdigit() else 0, UTC
        ),
        sender=_header(message, "From"),
        envelope_to=tuple(address.strip() for address in recipients if address.strip()),
        subject=_header(message, "Subject"),
    )


def _header(message: Message, name: str) -> str:
    return _decoded(message.get(name, ""))


def _decoded(value: object) -> str:
    try:
        text = str(make_header(decode_header(str(value))))
    except (
        MessageError,
        ValueError,
        LookupError,
    ):  # shown as it came, which is what a reader needs then
        text = str(value)
    return " ".join(text.split())


def _leaves(message: Message) -> Iterator[Message]:
    return (part for part in message.walk() if not part.is_multipart())


def _is_file(part: Message) -> bool:
    shown = part.get_content_type() in ("text/plain", "text/html")
    return (
        part.get_content_disposition() == "attachment"
        or part.get_filename() is not None
        or not shown
    )


def _body(message: Message, content_type: str) -> str:
    for part in _leaves(message):
        if part.get_content_type() == content_type and not _is_file(part):
            content = _bytes(part)
            try:
                text = content.decode(part.get_content_charset("utf-8"), "replace")
            except LookupError:  # a character set nobody knows
                text = content.decode("utf-8", "replace")
            return text.replace("\r\n", "\n")[:MOST_SHOWN]
    return ""


def _bytes(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


MOST_LISTED = 200
MOST_REMEMBERED = 400
MOST_UNFOLDED = 6
_CONTROLS_KEPT = {"\n", "\t"}
# Of the list; beside a message, that has the first heading.
_HEADING = '<{0}>Delivered <span class="small faint">newest first</span></{0}>'


@dataclass
class InboxPages:
    """Renders a Maildir; remembers the headers of messages it has listed, because they
    never change.
    """

    maildir: Maildir
    dashboard_url: str
    _summaries: "OrderedDict[str, Summary]" = field(default_factory=OrderedDict)

    @property
    def version(self) -> str:
        """A word that changes with the list."""
        keys = self.maildir.keys()
        return f"{len(keys)}-{keys[0] if keys else ''}"

    @property
    def count(self) -> int:
        """How many messages were delivered."""
        return len(self.maildir.keys())

    def index(self) -> str:
        """Return the page of the list alone."""
        return self._page(
            chosen="",
            title="Delivered mail",
            detail=fill("inbox-empty.html"),
            view="listing",
        )

    def fragment(self, chosen: str = "") -> str:
        """Return the rows, newest first."""
        rows = []
        for key in self.maildir.keys()[:MOST_LISTED]:
            if key not in self._summaries:
                self._summaries[key] = summarise(key, self.maildir.read(key) or b"")
                while len(self._summaries) > MOST_REMEMBERED:
                    self._summaries.popitem(last=False)
            rows.append(self._row(self._summaries[key], chosen))
        nothing = '<li class="none">Nothing has been delivered yet. Approve a message and it arrives here.</li>'
        return "".join(rows) or nothing

    def detail(self, key: str) -> str | None:
        """Return the page of one message beside the list, or nothing when there is none
        with this key.
        """
        content = self.maildir.read(key)
        if content is None:
            return None
        mail = read_mail(key, content)
        return self._page(
            chosen=key,
            title=escape(mail.summary.subject or "(no subject)"),
            detail=_mail(mail),
            view="reading",
        )

    def _page(self, *, chosen: str, title: str, detail: str, view: str) -> str:
        return fill(
            "inbox.html",
            title=title,
            view=view,
            heading=_HEADING.format("h2" if chosen else "h1"),
            count=str(self.count),
            rows=self.fragment(chosen),
            chosen=quote(chosen),
            version=escape(self.version),
            detail=detail,
            dashboard_url=escape(self.dashboard_url),
        )

    def _row(self, summary: Summary, chosen: str) -> str:
        first = (summary.envelope_to or ("nobody",))[0]
        others = len(summary.envelope_to) - 1
        more = f'<span class="faint">+{others}</span>' if others > 0 else ""
        current = ' aria-current="true"' if summary.key == chosen else ""
        return (
            f'<li><a class="item" href="/inbox/{quote(summary.key)}/"{current}>'
            f'<span class="row"><span class="to clip">{visible(first)}</span>{more}'
            f'<span class="age">{time_element(summary.received_at)}</span></span>'
            f'<span class="clip">{visible(summary.subject) or "(no subject)"}</span>'
            f'<span class="clip small faint">{visible(summary.sender)}</span></a></li>'
        )


def visible(text: str) -> str:
    """Return HTML in which characters that hide or turn text around are named instead
    of obeyed.
    """
    shown = []
    for character in text:
        hides = unicodedata.category(character) in ("Cf", "Cc", "Cs", "Zl", "Zp")
        if hides and character not in _CONTROLS_KEPT:
            shown.append(f'<span class="ghost">U+{ord(character):04X}</span>')
        else:
            shown.append(escape(character))
    return "".join(shown)


def _mail(mail: Mail) -> str:
    text = '<p class="faint">This message has no text part.</p>'
    if mail.text:
        text = f"<pre>{visible(mail.text)}</pre>"
    source = ""
    if mail.html:
        source = f"<details><summary>HTML part, as source</summary><pre>{visible(mail.html)}</pre></details>"
    files = "".join(
        f'<li><svg class="i"><use href="#clip"/></svg><div><strong>{visible(file.name)}</strong>'
        f'<span class="faint small">{visible(file.content_type)}, {file.size:,} bytes</span>'
        f"<code>{file.sha256}</code></div></li>"
        for file in mail.files
    )
    if files:
        files = f'<section class="files"><h2>Attachments</h2><ul>{files}</ul></section>'
    return fill(
        "inbox-mail.html",
        subject=visible(mail.summary.subject) or "(no subject)",
        received_at=time_element(mail.summary.received_at),
        key=escape(mail.summary.key),
        addresses=_addresses(mail),
        files=files,
        text=text,
        source=source,
        headers="".join(
            f"<dt>{visible(name)}</dt><dd>{visible(value)}</dd>"
            for name, value in mail.headers
        ),
    )


def _addresses(mail: Mail) -> str:
    reached: list[str] = []
    blind: list[str] = []
    for address in mail.summary.envelope_to:
        (reached if address.lower() in mail.named else blind).append(address)
    chip = '<span class="chip violet">Not in the headers</span> ' if blind else ""
    everybody = len(reached) > 1 and set(map(str.lower, reached)) == mail.named
    rows = [
        ("From", visible(mail.summary.sender)),
        ("To", visible(mail.to)),
        ("Cc", visible(mail.cc)),
        ("Sent by", visible(mail.envelope_from)),
        (
            "Reached",
            f"all {len(reached)} named above" if everybody else _listed(reached),
        ),
        ("Bcc", chip + _listed(blind)),
    ]
    return "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value)


def _listed(addresses: list[str]) -> str:
    joined = visible(", ".join(addresses))
    if len(addresses) <= MOST_UNFOLDED:
        return joined
    return f'<details class="many"><summary>{len(addresses)} addresses</summary>{joined}</details>'
