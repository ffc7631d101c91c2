"""The parts of a received message: its text, its HTML, and everything else as files with harmless names.

Nothing in here is trusted: character sets are guessed where they are wrong, names lose what could lead elsewhere.
"""

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import TypeVar

from gateway.inbound.headers import decoded, keepable
from gateway.letters import File
from gateway.plain_text import text_of_html

T = TypeVar("T")

# What is longer travels whole as a file beside its beginning. As much as a letter of ours may have.
MAX_BODY = 262_144
MAX_FILE_NAME = 150

_CONTENT_TYPE = re.compile(r"[a-z0-9][\w.+-]{0,62}/[a-z0-9][\w.+-]{0,62}", re.ASCII)
# Python knows these as character sets, but no mail is written in them, and reading some takes quadratic time.
_NO_CHARSETS = frozenset({"ascii", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})
_EXTENSIONS = {
    "text/plain": ".txt",
    "text/html": ".html",
    "text/calendar": ".ics",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "application/pdf": ".pdf",
    "message/rfc822": ".eml",
    "message/delivery-status": ".txt",
}


@dataclass
class Parts:
    """What a message holds; `cut` names the bodies of which only a beginning is shown."""

    text: str = ""
    html: str | None = None
    files: list[File] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)


def take_apart(message: Message) -> Parts:
    """Return the parts of a message: plain parts without a name are its text, the first such HTML part its HTML."""
    parts = Parts()
    texts: list[str] = []
    for leaf in _leaves(message):
        kind, name = _kind(leaf), _asked(leaf.get_filename, None) or ""
        is_file = bool(name) or _asked(leaf.get_content_disposition, None) == "attachment"
        if not is_file and (kind == "text/plain" or kind.startswith("multipart/")):
            texts.append(_text(leaf))
        elif not is_file and kind == "text/html" and parts.html is None:
            parts.html = _text(leaf)
        else:
            parts.files.append(_file(leaf, kind, name, parts.files))
    parts.text = "\n\n".join(text for text in (text.strip("\n") for text in texts) if text.strip())
    _bound(parts)
    return parts


def _leaves(message: Message) -> Iterator[Message]:
    """Yield the parts that hold something, in order. A message inside the message is one of them, whole."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        inner = part.get_payload()
        if isinstance(inner, list) and part.get_content_maintype() != "message":
            waiting += [one for one in reversed(inner) if isinstance(one, Message)]
        else:
            yield part


def _kind(part: Message) -> str:
    kind = _asked(part.get_content_type, "")
    return kind if _CONTENT_TYPE.fullmatch(kind) else "application/octet-stream"


def _text(part: Message) -> str:
    text = decode(_content(part), _asked(part.get_content_charset, None) or "")
    return keepable(text.replace("\r\n", "\n").replace("\r", "\n"))


def decode(content: bytes, charset: str) -> str:
    """Return text in its declared character set, or where that is missing or none, in the most probable one."""
    try:
        if codecs.lookup(charset).name not in _NO_CHARSETS:
            return content.decode(charset, "replace")
    except (LookupError, ValueError):
        pass
    return decoded(content.decode("ascii", "surrogateescape"))


def _content(part: Message) -> bytes:
    inner = part.get_payload()
    if isinstance(inner, list):
        return b"\r\n".join(_asked(one.as_bytes, b"") for one in inner if isinstance(one, Message))
    content: object = _asked(lambda: part.get_payload(decode=True), None)
    return content if isinstance(content, bytes) else b""


def _file(part: Message, kind: str, name: str, others: list[File]) -> File:
    return File(
        name=_free_name(file_name(name, kind), {file.name for file in others}),
        content_type=kind,
        content=_content(part),
    )


def file_name(name: str, kind: str) -> str:
    """Return a name that leads nowhere and looks like what it is: no path, no invisible or turning characters."""
    last = re.split(r"[/\\]", keepable(name))[-1]
    shown = "".join(
        one for one in unicodedata.normalize("NFC", last) if unicodedata.category(one)[0] not in "CZ" or one == " "
    )
    clean = " ".join(shown.split()).lstrip(". ")
    if not clean:
        return "attachment" + _EXTENSIONS.get(kind, ".bin")
    stem, dot, extension = clean.rpartition(".")
    if not dot or len(extension) > 20:
        return clean[:MAX_FILE_NAME]
    return f"{stem[: MAX_FILE_NAME - len(extension)]}.{extension}"


def _free_name(name: str, taken: set[str]) -> str:
    stem, dot, extension = name.rpartition(".")
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{stem} ({number}){dot}{extension}" if dot else f"{name} ({number})"
    return free


def _bound(parts: Parts) -> None:
    """Give HTML-only mail a text, and keep bodies of any length as files where they are too long to be shown."""
    if parts.html is not None and len(parts.html) > MAX_BODY:
        _put_aside(parts, "html", parts.html)
        if not parts.text:
            parts.text = text_of_html(parts.html)[:MAX_BODY]
        parts.html = None
    elif parts.html is not None and not parts.text:
        parts.text = text_of_html(parts.html)
    if len(parts.text) > MAX_BODY:
        name = _put_aside(parts, "text", parts.text)
        parts.text = f"{parts.text[:MAX_BODY]}\n\n[Cut here. All of it is in the attached file {name}.]"


def _put_aside(parts: Parts, body: str, text: str) -> str:
    kind, name = ("text/html", "message.html") if body == "html" else ("text/plain", "message.txt")
    name = _free_name(name, {file.name for file in parts.files})
    parts.files.append(File(name=name, content_type=kind, content=text.encode()))
    parts.cut.append(body)
    return name


def _asked(question: Callable[[], T], otherwise: T) -> T:
    try:
        return question()
    except Exception:  # noqa: BLE001 - over malformed mail the library fails with errors of any kind
        return otherwise
