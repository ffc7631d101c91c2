"""Domain names as accounts may claim them: in their wire form, and never one that no single owner can have."""

import idna

from common.domains import is_public_suffix
from common.mail_addresses import ascii_domain, is_domain

# Names that mean something else than a domain somebody owns (RFC 6761 and its followers), but for `example`.
_SPECIAL = frozenset(("arpa", "invalid", "local", "localhost", "internal", "onion"))


def clean_domain(text: str) -> str:
    """Return the domain in `text` in lower-case ASCII. Raises ValueError with a sentence."""
    domain = ascii_domain(text.strip())
    if not is_domain(domain) or not _can_be_read_back(domain):
        raise ValueError("must be a domain such as example.com.")
    # DNS itself would give the proof that a public suffix is nobody's; this says so at once.
    if domain.rpartition(".")[2] in _SPECIAL or is_public_suffix(domain):
        raise ValueError("is not a domain that one owner can have.")
    return domain


def _can_be_read_back(domain: str) -> bool:
    try:
        idna.decode(domain)
    except idna.IDNAError:
        return False
    return True
