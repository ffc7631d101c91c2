"""Email addresses in the one form in which they are sent, nothing in which could end a
header; and the grammar of allowlists: what an entry may look like, and which entries let
an address through. The desk and the gateway judge by the same one.

Pure: it knows no tables. Entries and addresses are compared in one form (lower case,
domain in ASCII, no trailing dot), so an entry is found by equality and never by walking
through a list.
"""

import re
import unicodedata

import idna

MAX_LENGTH = 254
MAX_TYPED = 320
MAX_PATTERN = 254
_SUBDOMAINS = "*."
_ANYBODY_AT = "*@"
RUN_REASON = (
    "old mail servers may take the part before the @ for a command, an option or a file"
)
_NEXT_HOP = frozenset("%!")

_NAMED = re.compile(r"[^<>]*<([^<>]*)>")
# A dot-atom of RFC 5322; quoted local parts are legal, and only ever an attack.
_LOCAL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
)
# Pipes and expansions, wherever they stand; at the start also options of programs, and
# files. & is in real addresses.
_RUN = re.compile(r"[-/]|.*[`$|]")
# Whatever may be one where there is an @ in it, for masking: more rather than less.
_WORD = re.compile(r"[^\s<>(),;:\"]+")
# What ends in a number is an IP address, as browsers and mail servers read it:
# 10.0.0.1, 127.1 and 10.0.0.0x1.
_DOMAIN = re.compile(
    r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"(?![0-9]+$|0x[0-9a-f]*$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)


def clean_address(text: str) -> str:
    """Return the bare address in `text` with its domain as lower-case ASCII. Raises
    ValueError with a sentence.
    """
    text = text.strip()
    if named := _NAMED.fullmatch(text):
        text = named[1].strip()
    local, _, domain = text.rpartition("@")
    if local.isprintable() and not local.isascii():
        raise ValueError(
            f"{_shown(text)} is not accepted as an email address: only ASCII is allowed before the @."
        )
    # Mail programs, and the library that builds messages, read =?utf-8?q?...?= as
    # something else.
    if not _LOCAL.fullmatch(local) or len(local) > 64 or "=?" in local:
        raise ValueError(f"{_shown(text)} is not an email address.")
    if may_be_run(text):
        raise ValueError(
            f"{_shown(text)} is not accepted as an email address: {RUN_REASON}."
        )
    domain = ascii_domain(domain)
    if not is_domain(domain) or len(local) + len(domain) + 1 > MAX_LENGTH:
        raise ValueError(f"{_shown(text)} is not an email address.")
    return f"{local}@{domain}"


def clean_addresses(value: object) -> list[str]:
    """Return the addresses of a list, a single text, or a text with commas; each once,
    in the order given.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be an address or a list of addresses.")
    return list(dict.fromkeys(clean_address(part) for part in parts if part.strip()))


def domain_of(address: str) -> str:
    """Return the part after the @."""
    return address.rpartition("@")[2]


def names_next_hop(address: str) -> bool:
    """Whether the part before the @ may say where to send the mail on to, as in
    a%b@relay and host!user@relay.

    Old mail servers follow it, so that mail "to" the domain after the @ reaches
    somebody else.
    """
    return not _NEXT_HOP.isdisjoint(_before_the_at(address))


def may_be_run(address: str) -> bool:
    """Whether old mail servers may run the part before the @, or write to it, as with
    -oQ@, |cmd@ and /etc/x@.
    """
    return _RUN.match(_before_the_at(address)) is not None


def _before_the_at(address: str) -> str:
    return unicodedata.normalize("NFKC", address.rpartition("@")[0])


def is_domain(domain: str) -> bool:
    """Whether this lower-case ASCII text is a domain of two labels or more, and no IP
    address.
    """
    return _DOMAIN.fullmatch(domain) is not None


def ascii_domain(domain: str) -> str:
    """Return a domain as it stands on the wire, lower case and in ASCII; an empty text
    for what cannot be one.
    """
    domain = domain.rstrip(".").lower()
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return ""


def masked_address(address: str) -> str:
    """Return an address for those who may know where mail goes, but not to whom:
    d…@northwind.example.
    """
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}" if at else "…"


def without_addresses(text: str) -> str:
    """Return what somebody wrote with every address in it masked, in a time that grows
    with its length alone.
    """
    return _WORD.sub(
        lambda word: masked_address(word[0]) if "@" in word[0][1:-1] else word[0], text
    )


def comparable(address: str) -> str:
    """Return a clean address in the form in which two spellings of one mailbox are
    equal.
    """
    return address.lower()


def comparable_text(text: str) -> str:
    """Return an address as somebody typed it in its comparable form; what is no address
    as it is.
    """
    return compared(text) or text


def compared(recipient: str) -> str | None:
    """Return a recipient in the form in which lists compare it; None for what is no
    address.
    """
    try:
        return comparable(clean_address(recipient))
    except ValueError:
        return None


def read_pattern(text: str) -> str:
    """Return an entry in its one form: `name@domain`, `domain` or `*.domain`. Raises
    ValueError with a sentence.

    `*.domain` means every subdomain and not the domain itself; `*@domain` is another
    spelling of `domain`. A star stands nowhere else, and a whole top-level domain is no
    entry: both would let in more than anybody meant to. Nor is an address with % or !
    before the @, which mail servers may send on to somebody else, or one that they may
    run.
    """
    text = pattern = text.strip()
    if len(pattern) > MAX_TYPED:
        raise ValueError(f"{_escaped(pattern)} is too long.")
    if pattern.startswith(_SUBDOMAINS):
        return _SUBDOMAINS + _domain(pattern.removeprefix(_SUBDOMAINS), text)
    pattern = pattern.removeprefix(_ANYBODY_AT)
    if "@" not in pattern:
        return _domain(pattern, text)
    # clean_address takes `Jane <jane@x.example>` and stars too, which have no place in
    # a list.
    if "*" in pattern or "<" in pattern or pattern != text:
        raise ValueError(_sentence(text))
    if names_next_hop(pattern):
        raise ValueError(
            f"{_escaped(text)} has % or ! before the @: mail servers may forward it to another address."
        )
    if may_be_run(pattern):
        raise ValueError(f"{_escaped(text)} is not accepted: {RUN_REASON}.")
    try:
        return comparable(clean_address(pattern))
    except ValueError:
        raise ValueError(_sentence(text)) from None


def stored_pattern(text: str) -> str:
    """Return an entry as a list may hold it: as it stands where it was stored before
    today's rules refuse it.
    """
    try:
        return read_pattern(text)
    except ValueError:
        return text


def is_pattern(text: str) -> bool:
    """Whether this is an entry in its one form."""
    try:
        return read_pattern(text) == text
    except ValueError:
        return False


def patterns_for(address: str) -> list[str]:
    """Return every entry that lets this clean address through, in the form that
    read_pattern gives.

    None does where the part before the @ names a next hop.
    """
    address = comparable(address)
    if names_next_hop(address):
        return []
    domain = domain_of(address)
    labels = domain.split(".")
    above = [".".join(labels[start:]) for start in range(1, len(labels) - 1)]
    return [address, domain, *(_SUBDOMAINS + parent for parent in above)]


def _domain(text: str, whole: str) -> str:
    domain = ascii_domain(text)
    if not is_domain(domain) or len(_SUBDOMAINS + domain) > MAX_PATTERN:
        raise ValueError(_sentence(whole))
    return domain


def _sentence(text: str) -> str:
    return f"{_escaped(text)} is none of name@domain, domain and *.domain."


def _shown(text: str) -> str:
    # What does not print is escaped: the sentence may end in a log or a terminal.
    return repr(text[:80])


def _escaped(text: str) -> str:
    # Control characters are escaped: the sentence may end in a log or a terminal.
    return ascii(text[:80])
