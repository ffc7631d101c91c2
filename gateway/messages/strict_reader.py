"""Reads a finished message again, right before it is sent, by rules of its own (RFC
5322, 2045, 2047, 2231), and compares it with the email that was approved.

It shares no code with what writes messages: a fault there must not reach a recipient.
"""

import base64
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from urllib.parse import unquote_to_bytes

_ENCODED_WORD = re.compile(r"=\?([\w-]{1,20})\?([bq])\?([!->@-~]*)\?=", re.IGNORECASE)
# Between two of them, blanks are dropped.
_BETWEEN = re.compile(r"(?<=\?=)[ \t]+(?==\?)")
_PARAMETER = re.compile(
    r';\s*([\w-]+)(?:\*([0-9]+))?(\*)?=(?:"((?:[^"\\]|\\.)*)"|([^\s;]*))', re.ASCII
)
_MOST_WORD = 75


class Differs(Exception):
    """The message is not what was approved, or cannot be read by the rules."""


@dataclass(frozen=True)
class Approved:
    """What the readers of a message get: people as pairs of name and address, and files
    as pairs of name and bytes.
    """

    subject: str
    sender: list[tuple[str, str]]
    to: list[str]
    cc: list[str]
    text: str
    html: str
    files: list[tuple[str, bytes]]


def check(message: bytes, approved: Approved) -> None:
    """Read a finished message. Raises Differs, with the first part that differs, if it
    is not what was approved.
    """
    try:
        read = _read(message)
    except (ValueError, KeyError, LookupError) as error:
        raise Differs(f"it cannot be read ({error})") from error
    for one in fields(Approved):
        if getattr(read, one.name) != getattr(approved, one.name):
            raise Differs(f"its {one.name} would be {getattr(read, one.name)!r:.200}")


def _read(message: bytes) -> Approved:
    head = fields_of(message.partition(b"\r\n\r\n")[0])
    bodies = {"text/plain": "", "text/html": ""}
    files = []
    for part, content in leaves_of(message):
        kind = part["content-type"].partition(";")[0].strip().lower()
        disposition = part.get("content-disposition", "")
        if disposition:
            files.append((parameters_of(disposition)["filename"], content))
        else:
            charset = parameters_of(part["content-type"])["charset"]
            bodies[kind] = in_lines(content.decode(charset))
    return Approved(
        subject=text_of(head["subject"]),
        sender=people_of(head["from"]),
        to=[address for _, address in people_of(head["to"])],
        cc=[address for _, address in people_of(head.get("cc", ""))],
        text=bodies["text/plain"],
        html=bodies["text/html"],
        files=files,
    )


def in_lines(text: str) -> str:
    """Return a text in the form for comparing: mail ends each line with CRLF, the last
    one too.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def fields_of(block: bytes) -> dict[str, str]:
    """Return the headers of a block by their names in lower case, unfolded."""
    fields: dict[str, str] = {}
    for line in re.sub(rb"\r\n(?=[ \t])", b"", block).decode("ascii").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or name.lower() in fields:
            raise Differs(f"header {name[:40]}")
        fields[name.lower()] = value.strip()
    return fields


def text_of(value: str) -> str:
    """Return an unstructured header with its encoded words decoded."""

    def decoded(word: re.Match[str]) -> str:
        if len(word[0]) > _MOST_WORD:
            raise Differs("an encoded word is too long")
        if word[2] in "bB":
            raw = base64.b64decode(word[3], validate=True)
        else:
            raw = quopri.decodestring(word[3].replace("_", " ").encode())
        return raw.decode(word[1])

    return _ENCODED_WORD.sub(decoded, _BETWEEN.sub("", value))


def people_of(value: str) -> list[tuple[str, str]]:
    """Return the names and addresses of a header with people."""
    people = []
    for part in re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+', value):
        name, bracket, rest = part.strip().rpartition("<")
        quoted = re.fullmatch(r'"((?:[^"\\]|\\.)*)"\s*', name)
        name = _unescaped(quoted[1]) if quoted else text_of(name.strip())
        people.append((name, rest.rstrip(">") if bracket else part.strip()))
    return people


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def parameters_of(value: str) -> dict[str, str]:
    """Return the parameters of Content-Type or Content-Disposition (RFC 2231)."""
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for name, number, is_encoded, quoted, plain in _PARAMETER.findall(value):
        text = _unescaped(quoted) if quoted else plain
        piece = (int(number or 0), bool(is_encoded), text)
        pieces.setdefault(name.lower(), []).append(piece)
    read = {}
    for name, ordered in pieces.items():
        ordered.sort()
        charset = "ascii"
        raw = b""
        for number, is_encoded, text in ordered:
            if is_encoded and number == 0:
                charset, _, text = text.split("'", 2)
            raw += unquote_to_bytes(text) if is_encoded else text.encode("ascii")
        read[name] = raw.decode(charset)
    return read


def leaves_of(message: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield headers and decoded content of each part that is no multipart."""
    block, blank, body = message.partition(b"\r\n\r\n")
    if not blank:
        raise Differs("the headers have no end")
    fields = fields_of(block)
    kind = fields.get("content-type", "text/plain")
    if kind.lower().startswith("multipart/"):
        boundary = parameters_of(kind)["boundary"].encode()
        inner, end, _ = (b"\r\n" + body).partition(b"\r\n--" + boundary + b"--")
        if not end:
            raise Differs("a multipart has no end")
        for part in inner.split(b"\r\n--" + boundary + b"\r\n")[1:]:
            yield from leaves_of(part)
        return
    encoding = fields.get("content-transfer-encoding", "7bit").lower()
    if encoding == "base64":
        body = base64.b64decode(b"".join(body.split()), validate=True)
    elif encoding == "quoted-printable":
        body = quopri.decodestring(body)
    yield fields, body
