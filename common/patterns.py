"""The grammar of allowlists: what an entry may look like, and which entries let an
address through.

The desk and the gateway judge by the same one.

Pure: it knows no tables. Entries and addresses are compared in one form (lower case,
domain in ASCII, no trailing dot), so an entry is found by equality and never by walking
through a list.
"""

from common.mail_addresses import (
    RUN_REASON,
    ascii_domain,
    clean_address,
    domain_of,
    is_domain,
    may_be_run,
    names_next_hop,
)

MAX_TYPED = 320
MAX_PATTERN = 254

_SUBDOMAINS = "*."
_ANYBODY_AT = "*@"


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
        raise ValueError(f"{_shown(pattern)} is too long.")
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
            f"{_shown(text)} has % or ! before the @: mail servers may forward it to another address."
        )
    if may_be_run(pattern):
        raise ValueError(f"{_shown(text)} is not accepted: {RUN_REASON}.")
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
    return f"{_shown(text)} is none of name@domain, domain and *.domain."


def _shown(text: str) -> str:
    # Control characters are escaped: the sentence may end in a log or a terminal.
    return ascii(text[:80])
