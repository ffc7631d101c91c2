"""Where a link really goes, and what about it deserves a second look. Reads addresses the way browsers do."""

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from urllib.parse import unquote, urljoin

from common.domains import registered_domain
from rendering.invisibles import stripped
from rendering.named_hosts import NamedHost, hosts_across, hosts_named, readable
from rendering.shown import Link

MAX_TEXT = 4000
_IGNORED = re.compile("[\t\n\r]")
_EDGES = "".join(map(chr, range(0x21)))
_PARTS = re.compile(r"([a-z][a-z0-9+.\-]{0,40}):(.*)", re.IGNORECASE | re.DOTALL)
_WEB = re.compile(r"[/\\]{0,9}([^/\\?#]*)(.*)", re.DOTALL)
# The dots that IDNA reads as one.
_DOTS = str.maketrans({"。": ".", "．": ".", "｡": "."})
WEB_SCHEMES = frozenset({"http", "https"})
PLAIN_SCHEMES = WEB_SCHEMES | {"mailto", "tel", "sms"}
_DEFAULT_PORTS = {"http": "80", "https": "443"}
WRITTEN_OUT = re.compile(
    r"(?:https?://|www\.)[^\s<>\"'“”‘’\[\]{}|\\^`，、；：！？（）「」『』《》【】]{3,2000}", re.IGNORECASE
)


def read_link(
    text: str,
    target: str,
    base: str = "",
    *,
    labels: Sequence[str] = (),
    before: str = "",
    after: str = "",
    written_out: bool = False,
) -> Link:
    """Return the link with its true host and its flags. `base` is the mail's own base address, if it set one.

    `labels` are what else is read or heard of it: titles and the texts in place of its pictures. `before` and `after`
    are what its text runs into, without a space between them.
    """
    target = _IGNORED.sub("", stripped(target)).strip(_EDGES)
    if base and not _PARTS.match(target):
        target = _joined(base, target)
    scheme, host, flags = _taken_apart(target)
    shown, *heard = (_one_line(said) for said in (text, *labels))
    claim = ""
    if scheme in PLAIN_SCHEMES and not written_out:
        goes_to = partial(_is_target, scheme=scheme, host=host, target=target)
        claim = _claim((text, *labels), goes_to, scheme) or _split_claim(before, text, after, goes_to)
    flags = [*flags, *(["text_says_other_domain"] if claim else []), *host_flags(host)]
    shown = shown or next(filter(None, heard), "")
    return Link(shown, target, host, registered_domain(host), tuple(dict.fromkeys(flags)), written_out, claim=claim)


def host_of(url: str) -> str:
    """Return the host that `url` would be loaded from; empty when there is none."""
    return _taken_apart(_IGNORED.sub("", url).strip(_EDGES))[1]


def is_remote(url: str) -> bool:
    """Whether loading `url` would reach another machine. A relative address has none to reach in a mail."""
    url = _IGNORED.sub("", url).strip(_EDGES).replace("\\", "/").lower()
    return url.startswith("//") or (bool(_PARTS.match(url)) and not url.startswith(("data:", "cid:", "about:", "mid:")))


def short_target(target: str) -> str:
    """Return a target as a reader needs it: host and path for the web, whole otherwise."""
    match = _PARTS.match(target)
    if match and match.group(1).lower() in WEB_SCHEMES:
        return match.group(2).lstrip("/\\")
    return target


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
    """Return `host` with its xn-- labels written out, as a person would be shown them."""
    if "xn--" not in host or len(host) > 253:
        return host
    labels = []
    for label in host.split("."):
        try:
            labels.append(label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label)
        except (UnicodeError, ValueError):
            labels.append(label)
    return ".".join(labels)


@lru_cache(maxsize=8192)
def scripts(word: str) -> frozenset[str]:
    """Return the scripts that the letters of `word` belong to, by the first word of their Unicode names.

    Japanese writes with three scripts, Korean with two: each of these counts as one.
    """
    found = {unicodedata.name(c, "UNKNOWN").split(" ")[0].split("-")[0] for c in word[:253] if c.isalpha()}
    if found & {"HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"}:
        found -= {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "LATIN"}
        found.add("EAST ASIAN")
    return frozenset(found - {"FULLWIDTH", "MODIFIER"})


def _claim(texts: Sequence[str], goes_to: Callable[[NamedHost], bool], scheme: str) -> str:
    """Return the first of these texts of a link that names an address which the link does not go to."""
    for text in texts:
        told = [goes_to(one) for one in hosts_named(readable(text[:MAX_TEXT]))]
        # Of mail addresses each must be the one written to; of hosts one is enough.
        if told and not (all(told) if scheme == "mailto" else any(told)):
            return _one_line(text)
    return ""


def _split_claim(before: str, text: str, after: str, goes_to: Callable[[NamedHost], bool]) -> str:
    """Return the address that a link's text names only with what stands beside it, where the link does not go there."""
    named = hosts_across(before, text, after) if text.strip() and (before or after) else []
    return next((one.said for one in named if not goes_to(one)), "")


def _is_target(named: NamedHost, *, scheme: str, host: str, target: str) -> bool:
    if scheme == "mailto":
        local = unquote(target[7:].partition("?")[0]).strip().lower().rpartition("@")[0]
        return _ascii_host(named.host) == host and named.local in ("", local)
    return scheme in WEB_SCHEMES and registered_domain(_ascii_host(named.host)) == registered_domain(host)


def _one_line(text: str) -> str:
    return " ".join(stripped(text[:MAX_TEXT]).split())


def _taken_apart(target: str) -> tuple[str, str, list[str]]:
    """Return scheme, host and the flags that follow from the address's own shape."""
    match = _PARTS.match(target)
    if not match:
        if target.replace("\\", "/").startswith("//"):
            _, host, flags = _taken_apart("https:" + target)
            return "https", host, flags
        return "", "", [] if target.startswith("#") or not target else ["relative"]
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme == "mailto":
        host, flags = _read_host(rest.partition("?")[0].rpartition("@")[2].strip())
        return scheme, host, flags
    if scheme not in WEB_SCHEMES:
        return scheme, "", [] if scheme in PLAIN_SCHEMES else ["unusual_scheme"]
    authority = _WEB.match(rest).group(1)  # type: ignore[union-attr]
    user, at, place = authority.rpartition("@")
    flags = ["credentials_in_url"] if at and user else []
    flags += ["not_https"] if scheme == "http" else []
    host, port = _host_and_port(place)
    flags += ["unusual_port"] if port not in ("", _DEFAULT_PORTS[scheme]) else []
    host, more = _read_host(host)
    return scheme, host, flags + more


def _read_host(written: str) -> tuple[str, list[str]]:
    """Return a host of a target in the form that is looked up; flagged where other characters stand for its dots."""
    host = _ascii_host(unquote(written))
    is_disguised = host.count(".") > written.rstrip(".").count(".") and not _as_ip(host)
    return host, ["disguised_dot"] if is_disguised else []


def _host_and_port(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        return host, rest.lstrip(":")
    host, _, port = place.partition(":")
    return host, port


def _ascii_host(host: str) -> str:
    """Return a host in the form that is looked up: lower case, ASCII, numbers as an IP address."""
    host = unicodedata.normalize("NFKC", stripped(host)[:1000].translate(_DOTS)).lower().rstrip(".")
    labels = []
    for label in host.split("."):
        try:
            labels.append(label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii"))
        except UnicodeError:
            labels.append(label)
    return _as_ip(".".join(labels)) or ".".join(labels)


@lru_cache(maxsize=4096)
def _as_ip(host: str) -> str:
    """Return the IP address that browsers read a host as (also 0x7f.1 or 2130706433); empty when it is a name."""
    if ":" in host:
        try:
            return str(ipaddress.ip_address(host.partition("%")[0]))
        except ValueError:
            return ""
    parts = host.split(".")
    if not 1 <= len(parts) <= 4 or not all(re.fullmatch(r"0x[0-9a-f]{0,10}|[0-9]{1,12}", part) for part in parts):
        return ""
    numbers = [int(p[2:] or "0", 16) if p.startswith("0x") else _octal_or_decimal(p) for p in parts]
    if any(n > 255 for n in numbers[:-1]) or numbers[-1] >= 256 ** (5 - len(numbers)):
        return ""
    whole = numbers[-1] + sum(n << 8 * (3 - i) for i, n in enumerate(numbers[:-1]))
    return str(ipaddress.IPv4Address(whole))


def _octal_or_decimal(part: str) -> int:
    return int(part, 8) if part.startswith("0") and len(part) > 1 and set(part) <= set("01234567") else int(part)


def _joined(base: str, target: str) -> str:
    try:
        return urljoin(base, target)
    except ValueError:
        return target
