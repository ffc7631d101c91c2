"""Reads a finished message again, right before it is sent, and compares it with the
email that was approved.

Headers with encoded words are read by strict rules of its own (RFC 2047), the rest by
Python's older reader, which shares no code with what wrote the message: a fault there
must not reach a recipient.
"""

import base64
import quopri
import re
from dataclasses import dataclass, fields
from email import message_from_bytes
from email.message import Message
from email.utils import collapse_rfc2231_value

from common.mail_addresses import split_addresses

_ENCODED_WORD = re.compile(r"=\?([\w-]{1,20})\?([bq])\?([!->@-~]*)\?=", re.IGNORECASE)
# Between two of them, blanks are dropped.
_BETWEEN = re.compile(r"(?<=\?=)[ \t]+(?==\?)")
_MOST_WORD = 75
# A name, or what is before the @, in quotation marks.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"')


class Differs(Exception):
    """The message is not what was approved, or cannot be read by the rules."""


@dataclass(frozen=True)
class Approved:
    """What the readers of a message get: people as pairs of name and address, and files
    as name, bytes and content id, sorted.
    """

    subject: str
    sender: list[tuple[str, str]]
    to: list[str]
    cc: list[str]
    text: str
    html: str
    files: list[tuple[str, bytes, str]]


def check(message: bytes, approved: Approved) -> None:
    """Read a finished message. Raises Differs, with the first part that differs, if it
    is not what was approved.
    """
    try:
        read = _read(message_from_bytes(message))
    except (ValueError, LookupError) as error:
        raise Differs(f"it cannot be read ({error})") from error
    for one in fields(Approved):
        if getattr(read, one.name) != getattr(approved, one.name):
            raise Differs(f"its {one.name} would be {getattr(read, one.name)!r:.200}")


def in_lines(text: str) -> str:
    """Return a text in the form for comparing: mail ends each line with CRLF, the last
    one too.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def _read(message: Message) -> Approved:
    bodies = {"text/plain": "", "text/html": ""}
    files = []
    for part in message.walk():
        content = part.get_payload(decode=True)
        if part.defects:
            raise ValueError(part.defects[0])
        if not isinstance(content, bytes):
            continue
        if part["Content-Disposition"]:
            name = part.get_param("filename", "", header="Content-Disposition")
            # Of a name without a character set, it would take off a second pair of
            # quotation marks.
            if isinstance(name, tuple):
                name = collapse_rfc2231_value(name)
            files.append((name, content, str(part["Content-ID"] or "").strip("<>")))
        else:
            charset = part.get_content_charset() or ""
            bodies[part.get_content_type()] = in_lines(content.decode(charset))
    people = {name: _people(_line(message, name)) for name in ("From", "To", "Cc")}
    return Approved(
        subject=_text(_line(message, "Subject")),
        sender=people["From"],
        to=[address for _, address in people["To"]],
        cc=[address for _, address in people["Cc"]],
        text=bodies["text/plain"],
        html=bodies["text/html"],
        files=sorted(files),
    )


def _line(message: Message, name: str) -> str:
    # `message[name]` has no letters beyond ASCII, which addresses may have.
    value = next((value for key, value in message.raw_items() if key == name), "")
    raw = str(value).encode("ascii", "surrogateescape")
    return re.sub(r"\r?\n(?=[ \t])", "", raw.decode())


def _text(value: str) -> str:
    """Return a header with its encoded words decoded."""

    def decoded(word: re.Match[str]) -> str:
        if len(word[0]) > _MOST_WORD:
            raise ValueError("an encoded word is too long")
        if word[2] in "bB":
            raw = base64.b64decode(word[3], validate=True)
        else:
            raw = quopri.decodestring(word[3].replace("_", " ").encode())
        return raw.decode(word[1])

    return _ENCODED_WORD.sub(decoded, _BETWEEN.sub("", value))


def _people(value: str) -> list[tuple[str, str]]:
    people = []
    for part in filter(None, map(str.strip, split_addresses(value))):
        name, bracket, rest = part.rpartition("<")
        if quoted := _QUOTED.fullmatch(name.strip()):
            name = re.sub(r"\\(.)", r"\1", quoted[1])
        else:
            name = _text(name.strip())
        address = rest.rstrip(">") if bracket else part
        local, _, domain = address.rpartition("@")
        if quoted := _QUOTED.fullmatch(local):
            address = f"{quoted[1]}@{domain}"
        elif not all(local.split(".")):
            raise ValueError("an address needs quotation marks")
        people.append((name, address))
    return people
