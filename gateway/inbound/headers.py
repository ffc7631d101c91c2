"""Reads headers of received mail with Python's email library, within limits of time and
size. Also reads the reports of mail servers, which are blocks of headers: delivery
notices (RFC 3464) and complaints (RFC 5965).

Runs in the parser's processes only. Reading never raises, ends soon, and returns text
that the database can store.
"""

import base64
import codecs
import re
import time
from collections.abc import Callable
from contextlib import suppress
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.policy import EmailPolicy
from itertools import islice
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from webencodings.labels import LABELS

from common.ascii import lowered, trimmed
from common.mail_addresses import clean_address
from common.tables import table_pairs
from gateway.inbound.received_mail import (
    COMPLAINT,
    FAILED,
    MAX_LINES,
    NotAccepted,
    RecipientReport,
    Report,
)

# Characters of a header that are read. The library's address parser takes quadratic
# time: at this length the worst input takes a tenth of a second.
MAX_HEADER = 4_000
MAX_MIME_HEADER = 1_000
# Seconds for all headers of a message and its parts; ordinary headers need a hundredth
# of that.
MAX_SECONDS = 1
# Characters of a subject and of a name; ids and addresses in one header.
MAX_SUBJECT = 998
MAX_NAME = 200
MAX_IDS = 30
MAX_ADDRESSES = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_UNKEEPABLE = re.compile(r"[\x00\ud800-\udfff]")
# A reference longer than the column of ids (300) cannot be one of ours.
_ID = re.compile(r"<[\s!-;=?-~]{1,298}>")
# In a header with addresses: a comment, what is in brackets, blanks, a word with what is
# quoted in it, another character. The numbers keep it fast.
_TOKEN = re.compile(
    r"\((?:[^()\\]|\\.|\([^()]*+\)){0,300}+\)|<[^<>]*+>|<[^<>,;\s]*+|\s++"
    r'|(?:"(?:[^"\\]|\\.){0,300}+"|[^\s",;<>()])++|.',
    re.DOTALL,
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.){0,300}+)"', re.DOTALL)
# A name that is a comment, as old programs write it.
_COMMENT = re.compile(r"\A\(([^()]*+)\)\Z")
# What is before an address in brackets, but not of it: a scheme, or a route (RFC 5321).
_AROUND = re.compile(r"\A(?:mailto:|@[^:]*+:)", re.IGNORECASE)
_AT = re.compile(r"(?<!\s)\s++(?=[@.])|(?<=[@.])\s++")


# The codecs of Python that read what browsers do by these names.
_CODECS = table_pairs("""
big5           | big5hkscs
euc-kr         | cp949
gbk            | gb18030
iso-8859-8-i   | iso8859-8
macintosh      | mac-roman
shift_jis      | cp932
windows-874    | cp874
x-mac-cyrillic | mac-cyrillic
""")
# Other names of the character sets of Windows and DOS.
_CODE_PAGE = re.compile(r"^(?:windows|win|cp)[-_ ]?(?=\d{3,4}$)")
# Names under which browsers read nothing, or not text.
_UNREAD = ("replacement", "x-user-defined")
# Python knows these as character sets, but no mail is written in them, and reading some
# takes quadratic time.
_NO_CHARSETS = frozenset(
    "ascii idna punycode unicode-escape raw-unicode-escape undefined".split()
)
# Encoded words (RFC 2047), one or more.
_WORDS = re.compile(
    r"(?:=\?[\w.:*-]{1,80}\?[bq]\?(?:[^?]|\?(?!=)){0,999}+\?=(?:\s++(?==\?))?+)++",
    re.IGNORECASE,
)
# What follows an escape sequence in ISO-2022-JP: two bytes for each letter, or one.
_JIS = re.compile(rb"\x1b(?:\$[@B]([!-~]*)|\(I([!-~]*)|\([BJ])")
# Byte order marks.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# A file name, with too few or too many quotation marks; where it goes on (RFC 2231);
# and one for programs that do not know that, beside the other.
_ANY_NAME = re.compile(
    r'(;\s*+(?:file)?name(?:\*\d++)? ?= ?)(?:"((?:[^";\\]|"(?!\s*+(?:;|\Z)))*+)"|([^\s";][^";]*+))',
    re.IGNORECASE,
)
# A value by RFC 2231, in which some programs leave signs as they are.
_EXTENDED = re.compile(r"(?<=\*=)[^\s;\"][^;\"]*+")
_NEXT_PIECE = re.compile(r'"\s*+;\s*+(?:file)?name\*[1-9]\d?="', re.IGNORECASE)
_OLD_NAME = re.compile(r'\bfilename ?= ?"[^"]{0,999}+"', re.IGNORECASE)


class BoundedPolicy(EmailPolicy):
    """The library's modern policy, with bounds on what is parsed. It leaves the
    received bytes as they are.
    """

    # Of one message: the character set of headers in bytes beyond ASCII, the headers
    # that were parsed so far, the time spent on them, and the lines that were counted.
    reading: Any = None

    def count_lines(self, content: bytes, *, encoded: bytes = b"") -> None:
        """Count the lines of a message, or those that a part has beyond the lines that
        it was `encoded` in. Raises NotAccepted if the message has too many.
        """
        self.reading.lines += max(0, _lines_in(content) - _lines_in(encoded))
        if self.reading.lines > MAX_LINES:
            raise NotAccepted(f"554 5.6.0 The message has more than {MAX_LINES} lines")

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        """Return the header, decoded. It is plain text if the library cannot parse it
        or has taken too long already.
        """
        # It is parsed already.
        if hasattr(value, "name"):
            return value
        if is_mime := name.lower().startswith("content-"):
            # Programs also cut encoded words into pieces.
            value = _NEXT_PIECE.sub("", str(value))
        text = self.readable(value)[: MAX_MIME_HEADER if is_mime else MAX_HEADER]
        if is_mime:
            text = _ANY_NAME.sub(_in_marks, text)
            text = _EXTENDED.sub(
                lambda one: quote(one[0], "%'", errors="replace"), text
            )
            without_old = _OLD_NAME.sub("", text)
            if "filename*" in without_old.lower():
                text = without_old
        # Parsing a message reads the same header many times.
        known = self.reading.known
        if (name, text) not in known:
            known[name, text] = text
            began = time.thread_time()
            if self.reading.spent <= MAX_SECONDS:
                # The library's parser fails with errors of a dozen kinds,
                # RecursionError too.
                with suppress(Exception):
                    known[name, text] = super().header_fetch_parse(name, text)
            self.reading.spent += time.thread_time() - began
        return known[name, text]

    def readable(self, value: object) -> str:
        """Return a header as it was written, in a form that the library reads."""
        # No more of it is read than this.
        text = decoded(str(value), self.reading.charset)[:MAX_HEADER]
        return _WORDS.sub(_one_word, text)


def _lines_in(content: bytes) -> int:
    return content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")


def _in_marks(name: re.Match[str]) -> str:
    bare = name[3].strip("' \t\r\n") if name[3] else name[2].replace('"', "'")
    return f'{name[1]}"{bare}"'


def _one_word(words: re.Match[str]) -> str:
    # Returns one encoded word in UTF-8. Programs split letters between several.
    try:
        pieces = decode_header(" ".join(words[0].split()))
    except HeaderParseError:
        return words[0]
    text = "".join(decode(raw, (name or "").partition("*")[0]) for raw, name in pieces)
    return f"=?utf-8?b?{base64.b64encode(storable(text).encode()).decode()}?="


def bounded_policy(
    message_factory: Callable[..., Message], charset: str
) -> BoundedPolicy:
    """Return the policy for one message. Parts are written out byte for byte as far as
    possible.
    """
    return BoundedPolicy(  # type: ignore[call-overload, no-any-return]
        reading=SimpleNamespace(charset=charset, known={}, spent=0.0, lines=0),
        message_factory=message_factory,
        refold_source="none",
        linesep="\r\n",
        cte_type="8bit",
    )


def codec_of(label: str) -> str | None:
    """Return Python's codec for the character set with this label, as browsers read it
    (WHATWG's Encoding Standard); None if it is none in which mail is written.
    """
    label = _CODE_PAGE.sub("cp", lowered(trimmed(label)))
    name = label if LABELS.get(label) in _UNREAD else LABELS.get(label, label)
    try:
        codec = codecs.lookup(_CODECS.get(name, name)).name
        # Some codecs, such as hex, make no text.
        b"0".decode(codec, "replace")
    except (LookupError, ValueError):
        return None
    return None if codec in _NO_CHARSETS or label.endswith("ascii") else codec


def decode(content: bytes, charset: str) -> str:
    """Return text in its declared character set, or in the most probable one if that is
    missing, unknown or UTF-8 by mistake. A byte order mark counts more than a
    declaration.
    """
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            return content.decode(name, "replace")
    codec = codec_of(charset)
    if codec == "iso2022_jp":
        return _JIS.sub(_in_shift_jis, content).decode("cp932", "replace")
    if codec:
        text = content.decode(codec, "replace")
        if codec != "utf-8" or not text.replace("\ufffd", "").isascii():
            return text
    return decoded(content.decode("ascii", "surrogateescape"))


def _in_shift_jis(text: re.Match[bytes]) -> bytes:
    # Shift_JIS has the letters that Windows writes into ISO-2022-JP, Python's codec for
    # that does not.
    double, single = text.groups(b"")
    halves = iter(double)
    letters = bytearray(letter | 0x80 for letter in single)
    for row, cell in zip(halves, halves, strict=False):
        lead, trail = divmod(94 * row + cell - 95 * 0x21, 188)
        letters += bytes([lead + 0x81 + 64 * (lead > 30), trail + 64 + (trail > 62)])
    return bytes(letters)


def decoded(text: str, charset: str = "") -> str:
    """Return text whose bytes beyond ASCII were stored as surrogates, decoded as UTF-8,
    or else in `charset` or as Windows-1252; and as ISO-2022-JP if it has that one's
    escape sequences.
    """
    try:
        raw = text.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        return text
    if b"\x1b$" in raw:
        return decode(raw, "iso-2022-jp")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(codec_of(charset) or "cp1252", "replace")


def storable(text: str) -> str:
    """Return text without what PostgreSQL cannot keep: U+0000 and halves of surrogate
    pairs.
    """
    return _UNKEEPABLE.sub(lambda found: "" if found[0] == "\x00" else "�", text)


def written(message: Message, name: str) -> list[str]:
    """Return the headers of this name, in lower case, as they came."""
    return [str(value) for key, value in message.raw_items() if key.lower() == name]


def line_of(message: Message, name: str, *, most: int = MAX_SUBJECT) -> str:
    """Return a header as one line of text; empty if there is none."""
    return one_line(str(message.get(name, "")))[:most]


def one_line(text: str) -> str:
    """Return text without control characters and line ends."""
    return storable(_CONTROL.sub(" ", text)).strip()


def whole_line(message: Message, name: str) -> str:
    """Return what is written in the headers of this name, which is not understood."""
    policy: Any = message.policy
    values = map(policy.readable, written(message, name))
    return one_line(", ".join(map(unencoded, values)))[:MAX_NAME]


def people_of(message: Message, name: str) -> list[tuple[str, str]]:
    """Return the display name and the address of each person in a header, each address
    once. An address that is not understood is empty.
    """
    names: dict[str, str] = {}
    policy: Any = message.policy
    for raw in written(message, name)[:10]:
        for display_name, address in _people_in(
            policy.readable(raw),
            # In From, only names have semicolons.
            "," if name == "from" else ",;",
        ):
            names.setdefault(address, one_line(display_name)[:MAX_NAME])
    return [
        (display_name, address)
        for address, display_name in list(names.items())[:MAX_ADDRESSES]
    ]


def _people_in(header: str, separators: str) -> list[tuple[str, str]]:
    # Returns name and address of each person, as mail servers read them: what is in the
    # last brackets is the address, or without brackets the only word with an @. All
    # else is name.
    people = []
    # Of a name with commas, what is before the last one.
    before = ""
    tokens: list[str] = []
    for token in [*_TOKEN.findall(header), ""]:
        if token not in separators:
            tokens.append(token)
            continue
        brackets = [one for one in tokens if one.startswith("<")]
        words = [
            one
            for one in tokens
            if not one.startswith(("<", "("))
            and "@" in _QUOTED.sub("x", one).strip("@")
        ]
        found = [one for one in brackets if one.strip("<>")][-1:]
        if not brackets and len(words) == 1:
            found = words
        if token and not found and not brackets:
            before += "".join(tokens) + token
            tokens = []
            continue
        address = ""
        for text in found:
            # The last of equal ones.
            del tokens[~tokens[::-1].index(text)]
            text = _AROUND.sub("", text.strip("<>[]'"))
            with suppress(ValueError):
                address = clean_address(_AT.sub("", text))
        rest = before + "".join(one for one in tokens if one.strip("<>"))
        name = " ".join(rest.split()).strip(" ,;")
        name = _QUOTED.sub(lambda one: re.sub(r"\\(.)", r"\1", one[1]), name)
        name = unencoded(_COMMENT.sub(r"\1", name))
        if found or "@" in name:
            people.append((name, address))
        before = ""
        tokens = []
    return people


def unencoded(name: str) -> str:
    """Return a name without blanks and quotation marks around it, decoded if it is in
    encoded words.
    """
    name = name.strip(' \t\r\n"')
    with suppress(Exception):
        return str(make_header(decode_header(name)))
    return name


def ids_of(message: Message, name: str) -> list[str]:
    """Return the message ids in a header, without the blanks at which one was folded.
    Some programs encode them, or leave the brackets away. Of a long list only the last
    are kept, which belong to the nearest messages of the thread.
    """
    value = " ".join(written(message, name))[-MAX_HEADER:]
    if "=?" in value:
        with suppress(Exception):
            value = str(make_header(decode_header(value)))
    if "<" not in value:
        value = " ".join(f"<{word}>" for word in value.split() if "@" in word)
    ids = ("".join(one.split()) for one in _ID.findall(value))
    return list(dict.fromkeys(ids))[-MAX_IDS:]


MAX_RECIPIENTS_REPORTED = 100
# Characters of a field.
_MOST_TEXT = 500
# Fields of one block, characters of a part that holds headers, and ids in a report.
_MOST_FIELDS = 200
_MOST_HEADERS = 64 * 1024
_MOST_IDS = 10
_ACTIONS = frozenset("failed delayed delivered relayed expanded".split())
# Kinds of feedback that are complaints. Other kinds are not: a recipient calls mail
# wanted, or a server reports about a signature (RFC 6430, 6591).
_COMPLAINTS = frozenset("abuse fraud opt-out virus other".split())
_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
# Parts in UTF-8 (RFC 6533) are read like those that mail servers wrote before.
_IN_UTF8 = table_pairs("""
message/global                 | message/rfc822
message/global-headers         | text/rfc822-headers
message/global-delivery-status | message/delivery-status
""")
_MESSAGE_ID = re.compile(
    r"^message-id:\s*(<[!-;=?-~]{1,298}>)", re.IGNORECASE | re.MULTILINE
)
Fields = dict[str, list[str]]


def read_report(
    message: Message, content_of: Callable[[Message], bytes]
) -> Report | None:
    """Return the report that a message is; it may name no recipient. None for other
    mail. `content_of` returns the decoded bytes of a part.
    """
    if not message.is_multipart():
        return _plain_report(message, content_of)
    if message.get_content_type() != "multipart/report":
        return None
    reported = []
    senders = []
    ids: list[str] = []
    envelope_id = ""
    is_report = False
    for part in _blocks(message):
        kind = part.get_content_type()
        encoding = str(part.get("content-transfer-encoding", ""))
        is_message = kind.startswith("message/")
        if kind in _IN_UTF8 or (is_message and "base64" in encoding.lower()):
            kind = _IN_UTF8.get(kind, kind)
            content = f"Content-Type: {kind}\r\n\r\n".encode() + content_of(part)
            part = message_from_bytes(content, policy=message.policy)
        blocks = _blocks(part)[: MAX_RECIPIENTS_REPORTED + 1]
        first = _fields(blocks[0]) if blocks else {}
        if kind == "message/delivery-status":
            is_report = True
            envelope_id = envelope_id or _first(first, "original-envelope-id")
            for block in blocks[1:] or blocks:
                fields = _fields(block)
                recipient = _address(_first(fields, "original-recipient"))
                recipient = recipient or _address(_first(fields, "final-recipient"))
                action = _first(fields, "action").lower().partition(" ")[0]
                if not recipient or action not in _ACTIONS:
                    continue
                diagnostic = _first(fields, "diagnostic-code")
                codes = _STATUS.findall(f"{_first(fields, 'status')} {diagnostic}")
                # Codes that end in 0 say less than others.
                codes.sort(key=lambda code: code.endswith(".0"))
                status = next(iter(codes), "")
                reported.append(RecipientReport(recipient, action, status, diagnostic))
        elif kind == "message/feedback-report" and blocks:
            is_report = True
            feedback = _first(first, "feedback-type")
            if feedback.lower() in _COMPLAINTS:
                recipients = first.get("original-rcpt-to", [])
                complainants = {
                    _address(recipient)
                    for recipient in recipients[:MAX_RECIPIENTS_REPORTED]
                } - {""}
                reported += [
                    RecipientReport(recipient, COMPLAINT, "", feedback)
                    for recipient in sorted(complainants or {""})
                ]
            senders.append(_address(_first(first, "original-mail-from")))
        # The mail that the report is about, enclosed whole or only with its headers.
        elif kind == "message/rfc822" and blocks:
            ids += ids_of(blocks[0], "message-id")
        elif kind == "text/rfc822-headers":
            ids += _ids_in(content_of(part))
    if not is_report:
        return None
    return Report(
        reported[:MAX_RECIPIENTS_REPORTED],
        list(dict.fromkeys(ids[:_MOST_IDS])),
        list(filter(None, senders[:MAX_RECIPIENTS_REPORTED])),
        envelope_id,
    )


def _plain_report(
    message: Message, content_of: Callable[[Message], bytes]
) -> Report | None:
    # Everybody can write such a report, so it has to name a message.
    failed = people_of(message, "x-failed-recipients")
    is_automatic = line_of(message, "auto-submitted").lower().startswith("auto-")
    ids = _ids_in(content_of(message)) if failed and is_automatic else []
    if not ids:
        return None
    # It does not say why: a code that means nothing suppresses nobody.
    result = [
        RecipientReport(address.lower(), FAILED, "5.0.0", "X-Failed-Recipients")
        for _, address in failed
    ]
    return Report(result, ids[:_MOST_IDS], [], "")


def _ids_in(text: bytes) -> list[str]:
    headers = text[:_MOST_HEADERS].decode("ascii", "surrogateescape")
    return _MESSAGE_ID.findall(decoded(headers))


def _blocks(part: Message) -> list[Message]:
    # The library gives each block of headers in a part as a message of its own.
    inner = part.get_payload()
    if not isinstance(inner, list):
        return []
    return [block for block in inner if isinstance(block, Message)]


def _fields(block: Message) -> Fields:
    """Return the values of a block's fields by their names in lower case, up to a
    limit.
    """
    values: Fields = {}
    for name, value in islice(block.raw_items(), _MOST_FIELDS):
        values.setdefault(name.lower(), []).append(
            one_line(str(value)[: _MOST_TEXT * 2])[:_MOST_TEXT]
        )
    return values


def _first(fields: Fields, name: str) -> str:
    return fields.get(name, [""])[0]


def _address(text: str) -> str:
    """Return the address in a field such as `rfc822; ann@x.example (a comment)`, in
    lower case; empty if it is no address. Some servers leave what we encoded (RFC 3461).
    """
    address = text.rpartition(";")[2].partition("(")[0]
    address = address.replace("+2B", "+").replace("+3D", "=")
    try:
        return clean_address(address.strip().strip("<>")).lower()
    except ValueError:
        return ""
