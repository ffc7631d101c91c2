"""Checks email addresses and the entries of allowlists, and brings both into one form.
The desk and the gateway use the same rules: which addresses are accepted, what an entry
may look like, and which entries let an address through.

Pure: it reads no tables. An accepted address contains nothing that could end a header.
Entries and addresses are compared in lower case, with the domain in ASCII and without a
trailing dot, so an entry is found by equality and not by walking through a list.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import groupby

import idna

from common.ascii import trimmed

# In characters: an address, an entry as somebody typed it, an entry.
MAX_LENGTH = 254
MAX_TYPED = 320
MAX_PATTERN = 254
_SUBDOMAINS = "*."
_ANYBODY_AT = "*@"
RUN_REASON = (
    "old mail servers may take the part before the @ for a command, an option or a file"
)
# Before the @, old mail servers read these as the server to forward to.
_NEXT_HOP = frozenset("%!")

# What is accepted before the @: a dot-atom of RFC 5322, also with dots where it must
# have none, as in addresses of mobile phones. Other quoted text is legal there too, but
# only attacks use it. Beyond ASCII (RFC 6531), only what a domain may have, too.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\u0080-\U0010ffff-]+")
_SIGNS = re.compile(r"[!#$%&'*+/=?^_`{|}~.-]")
# What old mail servers may run before the @: an option or a file at the start, a pipe
# or an expansion anywhere. Not &, which real addresses contain.
_RUN = frozenset("`$|")
_SEPARATORS = dict.fromkeys(map(ord, ",;"), "\0")
# What ends a text that may be an address, besides blanks. It is for masking, where too
# much is better than too little.
_ENDS = frozenset('<>(),;:"')
# Not a host whose last label is a number: browsers and mail servers read that as an IP
# address, such as 10.0.0.1, 127.1 and 10.0.0.0x1.
_DOMAIN = re.compile(
    r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"(?![0-9]+$|0x[0-9a-f]*$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)


def clean_address(text: str) -> str:
    """Return the address in `text`, without a name, with its domain in lower-case
    ASCII. Raises ValueError with a sentence if it is not accepted.
    """
    text = trimmed(text)
    if text.endswith(">") and text.count("<") == text.count(">") == 1:
        text = trimmed(text[:-1].partition("<")[2])
    local, _, domain = text.rpartition("@")
    if len(local) > 2 and local[0] == local[-1] == '"':
        local = local[1:-1]
    local = unicodedata.normalize("NFC", local[: MAX_LENGTH + 1])
    # Mail programs, and the library that builds messages, decode =?utf-8?q?...?= to
    # another text.
    is_text = len(local.encode(errors="replace")) <= 64 and _LOCAL.fullmatch(local)
    if not is_text or not local.strip(".") or "=?" in local:
        raise ValueError(f"{_shown(text)} is not an email address.")
    if not local.isascii():
        try:
            idna.check_label(_SIGNS.sub("", local.lower()))
        except idna.IDNAError:
            raise ValueError(
                f"{_shown(text)} is not accepted as an email address: letters beyond ASCII before the @ must be "
                "those that a domain may have, and of one direction."
            ) from None
    if may_be_run(f"{local}@{domain}"):
        raise ValueError(
            f"{_shown(text)} is not accepted as an email address: {RUN_REASON}."
        )
    domain = ascii_domain(domain)
    if not is_domain(domain) or len(local) + len(domain) + 1 > MAX_LENGTH:
        raise ValueError(f"{_shown(text)} is not an email address.")
    return f"{local}@{domain}"


def ascii_address(text: str) -> str:
    """Return the address in `text` like `clean_address`. It must be in ASCII."""
    address = clean_address(text)
    if not address.isascii():
        raise ValueError(
            f"{_shown(text)} is not accepted here: only ASCII is allowed before the @."
        )
    return address


def quoted(address: str) -> str:
    """Return a clean address as mail needs it: with quotation marks before the @ if
    there are dots that strict parsers refuse.
    """
    local, _, domain = address.rpartition("@")
    return address if all(local.split(".")) else f'"{local}"@{domain}'


def clean_addresses(value: object) -> list[str]:
    """Return the addresses in a list of texts, or in one text with commas: each once,
    in the given order. Raises ValueError with a sentence if one is not accepted.
    """
    parts = split_addresses(value) if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be an address or a list of addresses.")
    return each_once(clean_address(part) for part in parts if part.strip())


def split_addresses(text: str) -> list[str]:
    """Return the parts of a text between commas and semicolons, other than those in
    quotation marks.
    """
    # An escaped quotation mark belongs to the name.
    pieces = text.replace(r"\"", "\1").split('"')
    pieces[::2] = [one.translate(_SEPARATORS) for one in pieces[::2]]
    return '"'.join(pieces).replace("\1", r"\"").split("\0")


def each_once(addresses: Iterable[str]) -> list[str]:
    """Return the addresses without those that differ from an earlier one in upper and
    lower case only.
    """
    found: dict[str, str] = {}
    for address in addresses:
        found.setdefault(comparable(address), address)
    return list(found.values())


def domain_of(address: str) -> str:
    """Return the part after the @."""
    return address.rpartition("@")[2]


def without_tag(address: str) -> str:
    """Return the address without what follows a + before the @."""
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def folded(address: str) -> str:
    """Return the address of the mailbox that usually gets the mail to a clean address:
    in lower case, without a tag, and at Gmail without dots before the @.

    Only for what asks for more: other servers may have several mailboxes for it.
    """
    local, _, domain = without_tag(comparable(address)).rpartition("@")
    if domain in ("gmail.com", "googlemail.com"):
        return f"{local.replace('.', '')}@gmail.com"
    return f"{local}@{domain}"


def names_next_hop(address: str) -> bool:
    """Whether the part before the @ may name a server to forward the mail to, as in
    a%b@relay and host!user@relay.

    Old mail servers do so, and mail "to" the domain after the @ then reaches somebody
    else.
    """
    return not _NEXT_HOP.isdisjoint(_before_the_at(address))


def may_be_run(address: str) -> bool:
    """Whether old mail servers may run the part before the @ as a command, or write to
    it as a file, as with -oQ@, |cmd@ and /etc/x@.
    """
    local = _before_the_at(address)
    return local.startswith(("-", "/")) or not _RUN.isdisjoint(local)


def _before_the_at(address: str) -> str:
    # Full-width characters count like the usual ones.
    local = address.rpartition("@")[0]
    return "".join(unicodedata.normalize("NFKC", one) for one in local)


def is_domain(domain: str) -> bool:
    """Whether this lower-case ASCII text is a domain of two labels or more, and no IP
    address.
    """
    return len(domain) < MAX_LENGTH and _DOMAIN.fullmatch(domain) is not None


def ascii_domain(domain: str) -> str:
    """Return a domain in lower case and ASCII, as it is sent. If it cannot be encoded,
    the result is empty.
    """
    domain = domain.rstrip(".").lower()
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return ""


def masked_address(address: str) -> str:
    """Return an address for people who may know the domain but not the person:
    d…@northwind.example.
    """
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…{at}{domain}" if at else "…"


def without_addresses(text: str) -> str:
    """Return a text with every address in it masked."""
    runs = groupby(text, lambda one: one.isspace() or one in _ENDS)
    words = ("".join(run) for _, run in runs)
    return "".join(
        masked_address(word) if "@" in word[1:-1] else word for word in words
    )


def is_unclear(address: str, name: str) -> bool:
    """Whether a sender's name shows another address, so that mail programs differ in
    whom they take for the sender.
    """
    text = unicodedata.normalize("NFKC", name)
    words = "".join(" " if one in _ENDS else one for one in text).split()
    return any(
        "." in domain_of(word) and comparable(word) != comparable(address)
        for word in words
        if "@" in word[1:]
    )


def comparable(address: str) -> str:
    """Return an address from clean_address in the form for comparing, in which two
    spellings of one mailbox are equal.
    """
    return address.lower()


def comparable_text(text: str) -> str:
    """Return what somebody typed in the form for comparing; unchanged if it is no
    address.
    """
    return compared(text) or text


def compared(recipient: str) -> str | None:
    """Return a recipient in the form for comparing; None if it is no address."""
    try:
        return comparable(clean_address(recipient))
    except ValueError:
        return None


def read_pattern(text: str) -> str:
    """Return an entry in its one form: `name@domain`, `domain` or `*.domain`. Raises
    ValueError with a sentence.

    `*.domain` means every subdomain and not the domain itself; `*@domain` is another
    spelling of `domain`. A star may not be anywhere else, and a whole top-level domain
    is refused: both would let in more than intended. An address with % or ! before the
    @ is refused too, because mail servers may forward it to somebody else, and so is
    one that they may run.
    """
    text = pattern = text.strip()
    if len(pattern) > MAX_TYPED:
        raise ValueError(f"{_escaped(pattern)} is too long.")
    if pattern.startswith(_SUBDOMAINS):
        return _SUBDOMAINS + _domain(pattern.removeprefix(_SUBDOMAINS), text)
    pattern = pattern.removeprefix(_ANYBODY_AT)
    if "@" not in pattern:
        return _domain(pattern, text)
    # clean_address also accepts `Jane <jane@x.example>` and stars; a list does not.
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


def is_pattern(text: str) -> bool:
    """Whether this is an entry in its one form."""
    try:
        return read_pattern(text) == text
    except ValueError:
        return False


def patterns_for(address: str) -> list[str]:
    """Return every entry that lets this clean address through, in the form that
    read_pattern gives. Empty if the part before the @ names a server to forward to: no
    entry lets such an address through.
    """
    address = comparable(address)
    if names_next_hop(address):
        return []
    domain = domain_of(address)
    # A longer text is no domain, and would have an entry for each of its dots.
    labels = domain[-MAX_LENGTH:].split(".")
    above = [".".join(labels[start:]) for start in range(1, len(labels) - 1)]
    return [address, domain, *(_SUBDOMAINS + parent for parent in above)]


# Returns a domain in its one form. An error quotes the whole entry.
def _domain(text: str, whole: str) -> str:
    domain = ascii_domain(text)
    if not is_domain(domain) or len(_SUBDOMAINS + domain) > MAX_PATTERN:
        raise ValueError(_sentence(whole))
    return domain


def _sentence(text: str) -> str:
    return f"{_escaped(text)} is none of name@domain, domain and *.domain."


def _shown(text: str) -> str:
    # Unprintable characters are escaped: the sentence may end in a log or a terminal.
    return repr(text[:80])


def _escaped(text: str) -> str:
    # Everything but printable ASCII is escaped: the sentence may end in a log or a
    # terminal.
    return ascii(text[:80])
