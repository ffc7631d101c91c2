"""Finds the links of a message: where each really goes, which hosts its text names, and
flags such as `text_says_other_domain` or `ip_address`, by which risks are found.

Addresses are read as browsers read them, and texts as people do.
"""

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from common.ascii import lowered
from common.domains import MAX_HOST, has_known_suffix, registered_domain
from common.words import normalized
from rendering.invisibles import stripped
from rendering.result import Link

# Characters that pass for a dot: the dots of IDNA, and those that Unicode lists as
# confusable with one.
_READ_AS_DOT = "。．｡․﹒܁܂꘎𐩐٠۰۔ꓸ𝅭"
# Scripts whose letters nobody takes for Latin ones. Many are written without spaces, so
# a host ends where a letter of these begins.
_APART = (
    "\u0590-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Spaces so thin that a dot between them still looks like the dot of a host.
_THIN = "[\u2006-\u200a]{0,3}"
_DOT = re.compile(rf"{_THIN}[.{_READ_AS_DOT}]{_THIN}")
# "example[.]com", "example (dot) com", "example%2ecom"
_DOT_IN_WORDS = re.compile(r"\s?[\[({]\s?(?:\.|dot)\s?[\])}]\s?|%2e", re.IGNORECASE)
# Next to such a letter it is the full stop of a sentence, not the dot of a host.
_FULL_STOP = re.compile(
    rf"(?<=[{_APART}])[{_READ_AS_DOT}]|[{_READ_AS_DOT}](?=[{_APART}])"
)
# Where such a letter and a Latin letter or digit meet.
_SEAM = re.compile(
    rf"(?<=[{_APART}])-?(?=[a-z0-9])|(?<=[a-z0-9])-?(?=[{_APART}])", re.IGNORECASE
)

# A host, perhaps after a scheme or the part of a mail address before its @. Quantifiers
# are possessive and a match starts only where a word starts, so the time is linear for
# any text.
_NAMED = re.compile(
    r"(?<![\w-])(?<![\w-]\.)(?:(?<![_.+-])[_.+-]++|(?![_.+-]))(?P<scheme>https?:[/\\]{1,3}(?:[^\s/@]{1,64}@)?)?"
    r"(?:(?P<local>[\w.+%!'-]{1,64}+)@)?(?P<host>[^\W_][\w-]*+(?:\.[\w-]++)++)(?!\.*@)",
    re.IGNORECASE,
)
# A path, a port or a query. The line of a file passes for a port: "app.py:12".
_BEHIND = re.compile(r"[.:]*+[/\\]|:[0-9]|[?#][\w%=&-]")
# What stands behind any scheme: a host, perhaps with a name and a password before it.
_AUTHORITY = re.compile(r":[/\\]{2,}+([^\s/\\?#<>\"']++)")
_LEADING_HOST = re.compile(r"\[[0-9a-f:.]+\]|[\w.-]+", re.IGNORECASE)
_FILE_ENDINGS = frozenset(
    "js ts py md rs sh rb txt pdf doc docx xls xlsx csv png jpg jpeg gif svg html htm xml json yaml yml zip tar gz exe "
    "php jsp asp aspx css ini toml mp3 mp4 mov eml".split()
)


class NamedHost(NamedTuple):
    """A host that a text names, in lower case. If it belongs to a mail address, `local`
    is the part before the @.

    `start` and `end` are its position in the text, as `readable` returns it.
    """

    host: str
    local: str
    start: int
    end: int

    @property
    def text(self) -> str:
        """The host, or the whole mail address if it belongs to one."""
        return f"{self.local}@{self.host}" if self.local else self.host


def readable(text: str) -> str:
    """Return `text` as a person reads it: without invisible characters, and with a dot
    for all that looks like a dot or stands for one.
    """
    text = stripped(text)
    if not text.isascii():
        text = _DOT.sub(".", _FULL_STOP.sub(" ", text))
        text = _SEAM.sub(" ", normalized("NFKC", text))
    return _DOT_IN_WORDS.sub(".", text)


def find_hosts(text: str, *, is_strict: bool = False) -> list[NamedHost]:
    """Return the hosts that a text (from `readable`) names. A word counts as a host if
    it has a scheme, an @ or "www." before it, or a public suffix and no file ending;
    if `is_strict`, also with a public suffix that is a file ending, if a path, a port
    or a query follows, as in "pay.sh/login".
    """
    hosts = []
    for match in _NAMED.finditer(text):
        labels = match["host"].lower().split(".")
        while len(labels) > 1 and not (
            len(labels[-1].rstrip("-_")) > 1 and labels[-1][0].isalpha()
        ):
            labels.pop()
        host = ".".join(labels).rstrip("-_")
        local = (match["local"] or "").lower()
        end = match.start("host") + len(host)
        is_no_file = labels[-1] not in _FILE_ENDINGS or (
            is_strict and _BEHIND.match(text, end)
        )
        is_host = (match["scheme"] or local or host.startswith("www.")) or (
            is_no_file and has_known_suffix(host)
        )
        if len(labels) > 1 and is_host:
            start = match.start("local" if local else "host")
            hosts.append(NamedHost(host, local, start, end))
    return hosts


def find_addressed_hosts(text: str) -> set[str]:
    """Return the hosts behind any scheme in a text (from `readable`), in the form that
    is looked up: "evil.example" for "ftp://ana@evil.example/f".
    """
    behind_names = (unquote(one.rpartition("@")[2]) for one in _AUTHORITY.findall(text))
    hosts = filter(None, map(_LEADING_HOST.match, behind_names))
    return {_ascii_host(one[0].strip("[]")) for one in hosts}


def hosts_in(text: str) -> set[str]:
    """Return the hosts that a text names, read strictly, and those behind any scheme."""
    read = readable(text)
    named = find_hosts(read, is_strict=True)
    return find_addressed_hosts(read).union(one.host for one in named if not one.local)


def find_hosts_across(before: str, text: str, after: str) -> list[NamedHost]:
    """Return the hosts that are partly in `text` and partly in the words that touch it,
    `before` or `after`.
    """
    before = readable(before)
    text = readable(text)
    after = readable(after)
    before = "" if _SEAM.search(before[-2:] + text[:2]) else before
    after = "" if _SEAM.search(text[-2:] + after[:2]) else after
    edges = (len(before), len(before + text))
    hosts = find_hosts(before + text + after)
    return [
        host for host in hosts if any(host.start < edge < host.end for edge in edges)
    ]


# How many characters of a link's text are read, and how many recipients are compared.
MAX_TEXT = 4000
_MOST_COMPARED = 100
# Browsers drop these anywhere in an address, and `_EDGES` at both of its ends.
_IGNORED = re.compile("[\t\n\r]")
_EDGES = "".join(map(chr, range(0x21)))
# A scheme and the rest. Without re.ASCII, Kelvin's K would be a letter of a scheme.
_PARTS = re.compile(
    r"([a-z][a-z0-9+.\-]{0,40}):(.*)", re.IGNORECASE | re.DOTALL | re.ASCII
)
# The schemes of web pages, and their usual ports.
_WEB_PORTS = {"http": "80", "https": "443"}
# The longest target, in characters, that people may open from the desk.
MAX_OPENABLE = 8_000
# Schemes and domains of links that call or write to somebody. A simple form has no
# others.
_CALLING = frozenset("tel sms callto skype facetime facetime-audio whatsapp".split())
_CALLING_DOMAINS = frozenset(
    "wa.me whatsapp.com t.me telegram.me signal.me viber.com".split()
)
_WRITTEN_OUT = re.compile(
    r"(?ai:https?://|www\.)[^\s<>\"'“”‘’\[\]{}|\\^`，、；：！？（）「」『』《》【】]{3,2000}"
)


def read_link(
    text: str,
    target: str,
    *,
    labels: Sequence[str] = (),
    before: str = "",
    after: str = "",
    written_out: bool = False,
) -> Link:
    """Return the link with its true host and its flags.

    `labels` are its other texts: titles, and the texts in place of its pictures.
    `before` and `after` are the words that touch its text, without a space between.
    `written_out` means an address in plain text, which mail programs turn into a link.
    """
    target = read_target(target)
    scheme, host, _, flags = _split_target(target)
    texts = [one[:MAX_TEXT] for one in (text, *labels)]
    claim = ""
    if not written_out:
        claim = _claim(texts, (before, text, after), target)
    if claim:
        flags.append("text_says_other_domain")
    if scheme == "mailto":
        words = readable(" ".join(texts)[:MAX_TEXT])
        named = {one.text for one in find_hosts(words)}
        if not named.issuperset(recipients_of(target)[1:]):
            flags.append("hidden_recipient")
    flags += host_flags(host)
    # Web pages and mail addresses, written without blanks.
    is_usual = (
        scheme == "mailto" or (scheme in _WEB_PORTS and "://" in target[:8])
    ) and target.split() == [target]
    return Link(
        next(filter(None, map(_one_line, texts)), ""),
        target,
        host,
        registered_domain(host),
        tuple(dict.fromkeys(flags)),
        written_out,
        claim=claim,
        is_openable=is_usual and bool(host) and len(target) <= MAX_OPENABLE,
    )


def recipients_of(target: str) -> list[str]:
    """Return the addresses that a mailto: link writes to. The first is the one before
    its "?", "@" if there is none; others may be there too, and in to, cc and bcc.
    """
    path, _, query = target.partition(":")[2].partition("?")
    written = [path if "@" in unquote(path) else "@"]
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if lowered(unquote(name)) in ("to", "cc", "bcc"):
            written.append(value)
    return [
        lowered(one.rpartition("<")[2].strip(f"{_EDGES}/>"))
        for one in re.split("[,;]", ",".join(map(unquote, written)))
        if "@" in one
    ]


def read_target(target: str) -> str:
    """Return the target of a link as browsers read it, without characters they drop."""
    return _IGNORED.sub("", stripped(target)).strip(_EDGES)


def host_of(url: str) -> str:
    """Return the host that `url` would be loaded from; empty if it has none."""
    return _split_target(url)[1]


def origin_of(target: str) -> str:
    """Return the scheme, the host and the port that a link goes to, as browsers read
    it.
    """
    scheme, host, port, _ = _split_target(target)
    if scheme not in _WEB_PORTS:
        return f"{scheme}:{host}"
    return f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"


def short_target(target: str) -> str:
    """Return a web address without its scheme; any other target whole."""
    return re.sub(r"(?ai)^https?:[/\\]*", "", target)


@lru_cache(maxsize=4096)
def host_flags(host: str) -> tuple[str, ...]:
    """Return what is odd about a host: punycode, mixed_script, ip_address."""
    flags = []
    if _as_ip(host):
        flags.append("ip_address")
    plain = unicode_host(host)
    if plain != host or not host.isascii():
        flags.append("punycode")
    if any(len(scripts(label)) > 1 for label in plain.split(".")):
        flags.append("mixed_script")
    return tuple(flags)


@lru_cache(maxsize=4096)
def unicode_host(host: str) -> str:
    """Return `host` with the characters that its xn-- labels (punycode) stand for."""
    if "xn--" not in host or len(host) > MAX_HOST:
        return host
    labels = []
    for label in host.split("."):
        if label.startswith("xn--"):
            with suppress(ValueError):
                read = label[4:].encode("ascii").decode("punycode")
                # Half of a surrogate pair is no character, and cannot be stored.
                read.encode()
                label = read
        labels.append(label)
    return ".".join(labels)


_EAST_ASIAN = set("HIRAGANA KATAKANA HANGUL BOPOMOFO".split())


@lru_cache(maxsize=8192)
def scripts(word: str) -> frozenset[str]:
    """Return the scripts that the letters of `word` belong to, by the first word of
    their Unicode names.

    Japanese writes with three scripts, Korean with two: each of these counts as one.
    """
    names = {
        unicodedata.name(letter, "UNKNOWN").split(" ")[0].split("-")[0]
        for letter in word[:253]
        if letter.isalpha()
    }
    if names & _EAST_ASIAN:
        names -= _EAST_ASIAN | {"CJK", "LATIN"}
        names.add("EAST ASIAN")
    return frozenset(names - {"FULLWIDTH", "MODIFIER"})


def _claim(texts: Sequence[str], around: tuple[str, str, str], target: str) -> str:
    """Return the text of a link that names an address to which it does not go; empty if
    none does.

    `texts` are its text and its labels. `around` is its text with the words before and
    after it, because an address may stand partly in these.
    """
    scheme, host, _, _ = _split_target(target)
    is_web = scheme in _WEB_PORTS
    written_to = set()
    for address in recipients_of(target)[:_MOST_COMPARED]:
        local, _, domain = address.rpartition("@")
        domain = _ascii_host(domain)
        written_to |= {("", domain), (local, domain)}

    def goes_to(named: NamedHost) -> bool:
        named_host = _ascii_host(named.host)
        if is_web:
            return registered_domain(named_host) == registered_domain(host)
        return (named.local, named_host) in written_to

    for text in texts:
        matches = [goes_to(named) for named in find_hosts(readable(text))]
        # Of mail addresses each must be the one written to; of hosts one is enough.
        if matches and not (any(matches) if is_web else all(matches)):
            return _one_line(text)
    before, text, after = around
    if text.strip() and (before or after):
        for named in find_hosts_across(before, text, after):
            if not goes_to(named):
                return named.text
    if scheme in _CALLING or registered_domain(host) in _CALLING_DOMAINS:
        return _other_phone(texts, "".join(around), target)
    return ""


# A phone number as texts write it. Shorter numbers are dates, times and sums.
_PHONE = re.compile(r"(?:\+|\b00)?\(?\d(?:[ ()./\u2010-\u2015-]{0,3}\d){5,19}")
# What stands in a number, or after one, that is not part of it: (0), and the code of a
# conference, which is dialled later.
_NOT_OF_NUMBER = re.compile(r"\(0\)|(?<=\d),,\d{1,12}#?")
_NUMBER_FIELD = re.compile(r"[?&](?:phone|number)=([^&#]*)", re.IGNORECASE)
# Digits of a country's code, by which two forms of one number may differ.
_MOST_CODE = 3


def _other_phone(texts: Sequence[str], whole: str, target: str) -> str:
    """Return the first text of a link that names another phone number than the one it
    calls; empty if none does.

    `whole` is its text with the words around it. It is read if its text alone has
    digits but no whole number.
    """
    field = _NUMBER_FIELD.search(target)
    rest = field[1] if field else re.split("[?;,]", target.partition(":")[2])[0]
    # In an address, other digits than these are none.
    called = re.sub("[^+0-9]", "", unquote(rest))
    if any(map(str.isdecimal, texts[0])) and not _PHONE.search(readable(texts[0])):
        texts = [whole, *texts]
    for text in texts:
        if "://" in text:
            continue
        for match in _PHONE.finditer(_NOT_OF_NUMBER.sub("", readable(text[:MAX_TEXT]))):
            numbers = sorted(
                (_phone(match[0]), _phone(called)), key=lambda number: len(number[0])
            )
            (short, has_code), (long, other_has_code) = numbers
            is_same = bool(short) and long.endswith(short)
            most_missing = 0 if has_code and other_has_code else _MOST_CODE
            if not is_same or len(long) - len(short) > most_missing:
                return _one_line(text)
    return ""


def _phone(written: str) -> tuple[str, bool]:
    """Return the digits of a phone number without leading zeros, and whether they begin
    with a country's code.
    """
    digits = "".join(
        str(unicodedata.decimal(character))
        for character in written
        if character.isdecimal()
    )
    return digits.lstrip("0"), written.strip().startswith("+") or digits.startswith(
        "00"
    )


def _one_line(text: str) -> str:
    return " ".join(stripped(text[:MAX_TEXT]).split())


def _split_target(target: str) -> tuple[str, str, str, list[str]]:
    """Return the scheme, the host, the port if it is not the scheme's default, and the
    flags that follow from the form of the address.
    """
    match = _PARTS.match(read_target(target))
    if not match:
        return "", "", "", []
    scheme = match[1].lower()
    rest = match[2]
    written = ""
    port = ""
    flags = []
    if scheme == "mailto":
        written = rest.partition("?")[0].rpartition("@")[2].strip(_EDGES)
    elif scheme in _WEB_PORTS:
        # User, host and port: all between the slashes and the path.
        authority = re.split(r"[/\\?#]", rest.lstrip("/\\"), maxsplit=1)[0]
        user, _, written = authority.rpartition("@")
        if written.startswith("["):
            written, _, port = written[1:].partition("]")
            port = port.lstrip(":")
        else:
            written, _, port = written.partition(":")
        if port == _WEB_PORTS[scheme]:
            port = ""
        if user:
            flags.append("credentials_in_url")
        if scheme == "http":
            flags.append("not_https")
        if port:
            flags.append("unusual_port")
    elif scheme not in ("tel", "sms"):
        flags.append("unusual_scheme")
    host = _ascii_host(unquote(written))
    # Another character in it is read as a dot.
    if host.count(".") > written.rstrip(".").count(".") and not _as_ip(host):
        flags.append("disguised_dot")
    return scheme, host, port, flags


def _ascii_host(host: str) -> str:
    """Return a host in the form that is looked up: lower case, ASCII, numbers as an IP
    address.
    """
    host = unicodedata.normalize("NFKC", stripped(host)[:1000])
    # By NFKC, the other dots that IDNA reads as a full stop are already one or this.
    host = in_punycode(host.replace("。", ".").lower().rstrip("."))
    return _as_ip(host) or host


def in_punycode(host: str) -> str:
    """Return `host` with each label that is not ASCII as an xn-- label (punycode); a
    host that is too long to be looked up, which would take quadratic time, unchanged.
    """
    if len(host) > MAX_HOST:
        return host
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in host.split(".")
    )


_NUMBERS = re.compile(r"(?:(?:0x[0-9a-f]{0,10}|[0-9]{1,12})(?:\.(?!$)|$)){1,4}")


@lru_cache(maxsize=4096)
def _as_ip(host: str) -> str:
    """Return the IP address that browsers take a host for (also 0x7f.1 or 2130706433);
    empty if it is a name.
    """
    try:
        if ":" in host:
            return str(ipaddress.ip_address(host.partition("%")[0]))
        if not _NUMBERS.fullmatch(host):
            return ""
        # "0x" alone is zero, and 08 cannot be octal.
        plain = re.sub(r"\b0++(?=[0-9]*[89])", "", re.sub("0x(?![0-9a-f])", "0", host))
        return socket.inet_ntoa(socket.inet_aton(plain))
    except (OSError, ValueError):
        return ""


# Addresses in plain text that are listed for one message. If there are so many, where
# its links lead is not known.
MAX_WRITTEN_OUT = 500
# Sentences without spaces between them that are cut off after an address.
_MOST_SENTENCES = 20


def find_bare_links(text: str, known: set[str]) -> list[Link]:
    """Return the web addresses in plain text, which mail programs turn into links;
    without those in `known`.
    """
    links: dict[str, Link] = {}
    for match in _WRITTEN_OUT.finditer(text):
        if len(links) == MAX_WRITTEN_OUT:
            break
        url = match[0]
        for _ in range(_MOST_SENTENCES):
            # Without the punctuation at its end.
            url = url.rstrip(".,;:!?)。")
            link = read_link(
                url,
                url if "://" in url[:8].lower() else f"http://{url}",
                written_out=True,
            )
            if (
                "disguised_dot" not in link.flags
                or "。" not in url
                or has_known_suffix(link.host)
            ):
                break
            # The full stop of a sentence that goes on without a space.
            url = url.rpartition("。")[0]
        if not {link.text, link.target} & known:
            links.setdefault(link.target, link)
    return list(links.values())
