"""Turns the bytes of received mail into a `Mail`, with its text, HTML and attachments,
within bounds of time and memory; or refuses it with an SMTP reply.

Runs in the parser's processes only. `read_mail` raises nothing but NotAccepted, and
MemoryError, which the parser handles. Nothing in the mail is trusted: if a character
set is wrong it is guessed, and file names lose everything that could lead elsewhere.
"""

import re
import unicodedata
from binascii import a2b_base64, a2b_qp
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.parser import BytesFeedParser
from html import escape
from itertools import count, groupby
from typing import Any, TypeVar

from common.tables import table_pairs
from common.text_from_html import text_from_html
from gateway.attachments import File
from gateway.inbound.headers import (
    MAX_HEADER,
    MAX_NAME,
    MAX_SUBJECT,
    bounded_policy,
    codec_of,
    decode,
    ids_of,
    line_of,
    people_of,
    read_report,
    storable,
    unencoded,
    whole_line,
    written,
)
from gateway.inbound.received_mail import (
    MAX_HEADERS_BYTES,
    Mail,
    NotAccepted,
)
from simple_form import TooComplex, simplify
from simple_form.tree import without_tags

MAX_PARTS = 100
# Mail that passed so many servers is taken for a loop. The limit is the usual one.
MAX_HOPS = 30
_HEADERS_TOO_LARGE = "552 5.3.4 The headers are larger than 256 kB"
# Bytes given to the library at a time.
_PIECE = 64 * 1024
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n|\r\r")
# What some programs write before the first header, and a name with a blank after it.
_BEFORE = re.compile(rb"\A(?:\xef\xbb\xbf|[ \t]*+[\r\n]|>From [^\r\n]*+)++")
_NAME = re.compile(rb"^([!-9;-~]++)[ \t]++:", re.MULTILINE)
# A header that each server adds.
_HOP = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_COMMENT = re.compile(r"\([^()]*+\)")
# The words of Auto-Submitted that are stored; another word becomes the first of them.
_AUTOMATIC = ("auto-generated", "auto-replied", "auto-notified")
T = TypeVar("T")
# Characters. A longer body is stored whole as an attachment. The limit is that of sent
# messages.
MAX_BODY = 262_144
MAX_FILE_NAME = 150
_CONTENT_TYPE = re.compile(r"[a-z0-9][\w.+-]{0,62}/[a-z0-9][\w.+-]{0,62}", re.ASCII)
# The character set that a message names first. Headers in bytes beyond ASCII are in it.
_FIRST_CHARSET = re.compile(rb"\bcharset ?= ?\"?([\w.:-]{1,40})", re.IGNORECASE)
# The character set that HTML declares near its beginning: none in which that could not be
# found.
_META = re.compile(
    rb"<(?:meta\b[^>]{0,200}?\bcharset|\?xml\b[^>]{0,200}?\bencoding)"
    rb"\s{0,9}=\s{0,9}[\"']?(?!utf-?(?:7|16|32))([\w.:-]{1,40})",
    re.IGNORECASE,
)
_MOST_BEFORE_META = 16 * 1024
# The character set in a header, however it is written.
_CHARSET = re.compile(
    r"\bcharset(?:\*=[\w-]*+'[\w-]*+'|[\s=:]++[\"']?+)([\w.:-]{1,40})", re.IGNORECASE
)
_AS_TEXT = "plain/text text/markdown text/enriched text/richtext".split()
# The line between two parts, where the header does not say what is in it.
_BOUNDARY = re.compile(
    rb"^--([\w'()+,./:=-]{1,70})[ \t]*+\r?\nContent-", re.IGNORECASE | re.MULTILINE
)
# The end of a line in quoted-printable that is no end of the text's line.
_SOFT_BREAK = re.compile(rb"=[ \t]++(?=[\r\n])")
# What lines of words have and base64 has not; and all that base64 has not.
_IN_WORDS = re.compile(rb"[\s_@.:]")
_NOT_BASE64 = bytes(
    set(range(256)).difference(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
)
# For the name of an attachment that has none.
_EXTENSIONS = table_pairs("""
text/plain              | .txt
text/html               | .html
text/calendar           | .ics
image/png               | .png
image/jpeg              | .jpg
image/gif               | .gif
application/pdf         | .pdf
message/rfc822          | .eml
message/global          | .eml
message/delivery-status | .txt
""")


def read_mail(content: bytes) -> Mail:
    """Return the message in `content`. Raises NotAccepted for a loop and for mail that
    is built to cost time or memory.
    """
    content = _BEFORE.sub(b"", content)
    ending = _END_OF_HEADERS.search(content, 0, MAX_HEADERS_BYTES)
    if ending is None and len(content) > MAX_HEADERS_BYTES:
        raise NotAccepted(_HEADERS_TOO_LARGE)
    headers = content[: ending.start() if ending else None]
    content = _NAME.sub(rb"\1:", headers) + content[len(headers) :]
    if len(_HOP.findall(headers)) >= MAX_HOPS:
        raise NotAccepted(
            f"554 5.4.6 The message has passed {MAX_HOPS} servers: this is a loop"
        )
    numbers = count(1)

    def make_part(*args: Any, **options: Any) -> EmailMessage:
        # Each level of nesting costs time for every line.
        if next(numbers) > MAX_PARTS:
            raise NotAccepted(f"554 5.6.0 The message has more than {MAX_PARTS} parts")
        return EmailMessage(*args, **options)

    try:
        named = _FIRST_CHARSET.search(content, 0, MAX_HEADERS_BYTES)
        charset = named[1].decode() if named else ""
        policy = bounded_policy(make_part, charset)
        policy.count_lines(content)
        parser = BytesFeedParser(policy=policy)
        # In pieces: as a whole the library would first keep four bytes for each one.
        for start in range(0, len(content), _PIECE):
            parser.feed(content[start : start + _PIECE])
        message = parser.close()
        parts = split_parts(message)
        senders = people_of(message, "from")
        name, sender = senders[0] if senders else ("", "")
        if not all(address for _, address in senders):
            sender = ""
        if not sender:
            name = whole_line(message, "from")
        elif others := [f"{other} <{one}>".strip() for other, one in senders[1:]]:
            # Part of the name, so that readers know of them.
            name = ", ".join([name[: MAX_NAME // 2], *others]).lstrip(", ")
        reply_to, to, cc = (
            [address for _, address in people_of(message, field)]
            for field in ("reply-to", "to", "cc")
        )
        if not all(reply_to):
            # No address, so that an answer goes neither there nor to From.
            reply_to = [f"Not understood: {whole_line(message, 'reply-to')}"]
        subject = line_of(message, "subject")
        # A header is longer than the part of it that is read.
        if len(subject) == MAX_SUBJECT or any(
            len(str(value)) > MAX_HEADER for _, value in message.raw_items()
        ):
            parts.cut.insert(0, "headers")
        return Mail(
            message_id=next(iter(ids_of(message, "message-id")), ""),
            in_reply_to=ids_of(message, "in-reply-to"),
            references=ids_of(message, "references"),
            sender=sender,
            sender_name=name[:MAX_NAME],
            reply_to=reply_to,
            to=list(filter(None, to)),
            cc=list(filter(None, cc)),
            subject=subject,
            text=parts.text,
            html=parts.html,
            files=parts.files,
            automatic=_automatic(message),
            cut=parts.cut,
            report=read_report(message, _content),
        )
    except (NotAccepted, MemoryError):
        # The parser reports that it ran out of memory.
        raise
    except Exception as error:
        # No case is known. The mail is refused, so that its sender learns of it.
        raise NotAccepted("554 5.6.0 The message cannot be read") from error


def _automatic(message: Message) -> str:
    """Return what kind of program wrote a message, as Auto-Submitted says (RFC 3834) or
    what older programs write; empty for a person.
    """
    word = _COMMENT.sub("", line_of(message, "auto-submitted", most=100))
    if word := word.partition(";")[0].strip().lower():
        if word == "no":
            return ""
        return word if word in _AUTOMATIC else "auto-generated"
    precedence = line_of(message, "precedence").lower()
    if precedence == "auto_reply" or any(
        line_of(message, name)
        for name in (
            "x-autoreply",
            "x-autorespond",
            "x-autoresponder",
            "x-mail-autoreply",
        )
    ):
        return "auto-replied"
    if (
        # Persons write to lists.
        (precedence in ("bulk", "junk") and not line_of(message, "list-id"))
        or line_of(message, "return-path") == "<>"
        or message.get_content_type() == "multipart/report"
    ):
        return "auto-generated"
    return ""


@dataclass
class BodyParts:
    """The text, HTML and files of a message; `cut` names the bodies that were too
    long.
    """

    text: str = ""
    html: str | None = None
    files: list[File] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)


def split_parts(message: Message) -> BodyParts:
    """Return the text, HTML and files of a message. A part is a file if it says so, or
    is neither plain text nor HTML. All others are its body, in their order; of
    alternatives, which say the same, the plain text is its text and the HTML its HTML.

    HTML without a text gets one. A body that is too long to be shown is kept as a file.
    """
    parts = BodyParts()
    numbers = count(1)
    # The texts of each section of the body, by its number: of which alternative each is,
    # and whether it is HTML.
    sections: dict[int, list[tuple[int, bool, str]]] = {}
    unread = [(message, 0, 0)]
    while unread:
        part, number, alternative = unread.pop()
        # Each part has the limit of the message, also one that was decoded. A name and
        # a value have four characters between and after them.
        if (
            sum(len(name) + len(str(value)) + 4 for name, value in part.raw_items())
            > MAX_HEADERS_BYTES
        ):
            raise NotAccepted(_HEADERS_TOO_LARGE)
        # Of another part the library would decode the text, by any character set.
        inner = part.get_payload() if part.is_multipart() else None
        # An enclosed message is one part, whole.
        if isinstance(inner, list) and part.get_content_maintype() != "message":
            is_choice = part.get_content_type() == "multipart/alternative"
            if is_choice:
                number = number or next(numbers)
            unread += [
                (child, number, next(numbers) if is_choice else alternative)
                for child in reversed(inner)
                if isinstance(child, Message)
            ]
            continue
        kind = _safely(part.get_content_type, "")
        found = _CONTENT_TYPE.match(kind)
        kind = found[0] if found else "application/octet-stream"
        # Text, if it is the whole message.
        if part is message and kind in _AS_TEXT:
            kind = "text/plain"
        name = unencoded(_safely(part.get_filename, None) or "")
        is_file = _safely(part.get_content_disposition, None) == "attachment"
        is_multipart = kind.startswith("multipart/")
        is_body = not is_file and kind in ("text/plain", "text/html")
        content = _content(part, is_read=is_multipart or is_body)
        if is_multipart and (line := _BOUNDARY.search(content)):
            head = b'Content-Type: %b; boundary="%b"\r\n\r\n' % (kind.encode(), line[1])
            whole = message_from_bytes(head + content, policy=part.policy)
            unread.append((whole, number, alternative))
            continue
        section = sections.setdefault(number or next(numbers), [])
        if not is_file and (kind == "text/plain" or is_multipart):
            section.append((alternative, False, _text(part, content)))
        elif is_body:
            meta = _META.search(content[:_MOST_BEFORE_META])
            declared = meta[1].decode() if meta else ""
            section.append((alternative, True, _text(part, content, declared)))
        else:
            _attach(parts, file_name(name, kind), kind, content)
    bodies = []
    for section in sections.values():
        with_html = {alternative for alternative, is_html, _ in section if is_html}
        # An alternative with HTML may also have parts of plain text.
        htmls = [
            text if is_html else f"<pre>{escape(text)}</pre>"
            for alternative, is_html, text in section
            if alternative in with_html
        ]
        texts = [
            text.strip("\n")
            for alternative, _, text in section
            if alternative not in with_html and text.strip()
        ]
        bodies.append(("\n\n".join(texts), "\n".join(htmls)))
    if any(html for _, html in bodies):
        parts.html = "\n".join(
            html or f"<pre>{escape(text)}</pre>"
            for text, html in bodies
            if text or html
        )
    is_written = any(text for text, _ in bodies)
    parts.text = "\n\n".join(
        text or _text_of(html) for text, html in bodies if text or html
    )
    if parts.html is not None and len(parts.html) > MAX_BODY:
        if not is_written:
            parts.text = parts.text[:MAX_BODY]
        _attach(parts, "message.html", "text/html", parts.html.encode())
        parts.cut.append("html")
        parts.html = None
    if len(parts.text) > MAX_BODY:
        name = _attach(parts, "message.txt", "text/plain", parts.text.encode())
        parts.cut.append("text")
        parts.text = f"{parts.text[:MAX_BODY]}\n\n[Cut here. All of it is in the attached file {name}.]"
    return parts


def _text_of(html: str) -> str:
    try:
        return text_from_html(simplify(html).html)
    except TooComplex:
        return without_tags(html)


def _text(part: Message, content: bytes, declared: str = "") -> str:
    # Returns the text of a part, with line ends as \n. `declared` is the character set
    # that it names itself; one in its header counts more, unless that is ASCII or
    # unknown.
    found = _CHARSET.search(" ".join(written(part, "content-type")))
    charset = found[1] if found and codec_of(found[1]) else declared
    text = storable(decode(content, charset))
    # In quoted-printable, some programs encode one half of a line end.
    text = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    parameters = {
        name.lower(): str(value).lower()
        for name, value in _safely(part.get_params, None) or ()
    }
    if parameters.get("format") != "flowed":
        return text
    return unwrapped(text, keeps_blanks=parameters.get("delsp") != "yes")


def unwrapped(text: str, *, keeps_blanks: bool) -> str:
    """Return text of the format `flowed` with its paragraphs in one line each (RFC
    3676). A line that ends with a blank goes on in the next one, if that is quoted as
    deeply, has words and does not begin the signature.
    """
    pieces = []
    # How deeply the line is quoted that goes on; None if none does.
    goes_on_at: int | None = None
    for line in text.split("\n"):
        words = line.lstrip(">")
        depth = len(line) - len(words)
        words = words.removeprefix(" ")
        is_signature = words == "-- "
        if depth != goes_on_at or is_signature or not words:
            pieces.append(f"\n{'>' * depth} " if depth else "\n")
        goes_on_at = None
        if words.endswith(" ") and not is_signature:
            goes_on_at = depth
            words = words[: None if keeps_blanks else -1]
        pieces.append(words)
    return "".join(pieces)[1:]


def _content(part: Message, *, is_read: bool = True) -> bytes:
    # Returns the decoded bytes of a part, or those of the messages that it encloses. If
    # they are read, and not only stored as a file, their lines count.
    name = "content-transfer-encoding"
    encoding = str(part.get(name, "")).lower()
    # The library decodes only what has the exact name of an encoding.
    if "base64" in encoding or "quoted" in encoding:
        part.replace_header(name, f"x-{encoding}")
    if part.is_multipart():
        # As it came, and not as the library would write it.
        whole = b"\r\n" + _safely(part.as_bytes, b"")
        content: object = whole.partition(b"\r\n\r\n")[2]
    else:
        content = _safely(lambda: part.get_payload(decode=True), None)
    if not isinstance(content, bytes):
        return b""
    is_quoted = "quoted" in encoding
    if is_quoted and part.is_multipart():
        # Some programs encode an enclosed message, others only say so.
        top = content.partition(b"\r\n\r\n")[0]
        is_quoted = a2b_qp(top) != top or b"quoted-printable" not in top.lower()
    decoded = content
    if is_quoted:
        decoded = a2b_qp(_SOFT_BREAK.sub(b"=", content))
    elif "base64" in encoding:
        decoded = _from_base64(content, is_text=is_read)
    if is_read:
        policy: Any = part.policy
        # The library has decoded uuencode.
        policy.count_lines(decoded, encoded=b"" if "uu" in encoding else content)
    return decoded


def _from_base64(content: bytes, *, is_text: bool) -> bytes:
    # Returns decoded bytes. Lines of a text that are not encoded stay as they are, such
    # as the footer of a list, which ends a file. A second text may come after the
    # padding.
    with suppress(ValueError):
        return a2b_base64(b"".join(content.split()), strict_mode=True)
    decoded = bytearray()
    lines = map(bytes.strip, content.splitlines())
    for has_words, run in groupby(lines, lambda one: bool(_IN_WORDS.search(one))):
        text = b"\n".join(run)
        if has_words and not is_text:
            # What begins with words is not encoded.
            return bytes(decoded) or content
        if has_words:
            decoded += b"\n" + text
            continue
        # Not more pieces than texts that anybody writes, so that it ends soon.
        for piece in text.split(b"=", 99):
            piece = piece.translate(None, _NOT_BASE64)
            whole = len(piece) - (len(piece) % 4 == 1)
            decoded += a2b_base64(piece[:whole] + b"==")
    return bytes(decoded)


def file_name(name: str, kind: str) -> str:
    """Return a safe file name: without a path and without invisible or bidirectional
    control characters. `kind` is the content type, for a file without a name.
    """
    last = re.split(r"[/\\]", storable(name))[-1]
    visible = "".join(
        character
        for character in unicodedata.normalize("NFC", last)
        if unicodedata.category(character)[0] not in "CZ" or character == " "
    )
    clean = " ".join(visible.split()).lstrip(". ")
    if not clean:
        return "attachment" + _EXTENSIONS.get(kind, ".bin")
    stem, dot, extension = clean.rpartition(".")
    if not dot or len(extension) > 20:
        return clean[:MAX_FILE_NAME]
    return f"{stem[: MAX_FILE_NAME - len(extension)]}.{extension}"


def _attach(parts: BodyParts, name: str, kind: str, content: bytes) -> str:
    """Add a file under a name that no other file has, and return that name."""
    used = {file.name for file in parts.files}
    stem, dot, extension = name.rpartition(".")
    number = 1
    free = name
    while free in used:
        number += 1
        free = f"{stem} ({number}){dot}{extension}" if dot else f"{name} ({number})"
    parts.files.append(File(name=free, content_type=kind, content=content))
    return free


def _safely(question: Callable[[], T], otherwise: T) -> T:
    # Returns the answer of `question`, or `otherwise` if the library fails.
    try:
        return question()
    except Exception:  # noqa: BLE001 - over malformed mail the library fails with errors of any kind
        return otherwise
