"""Domain names as accounts may claim them: in their wire form, and never one that no single owner can have."""

import idna

from common.mail_addresses import ascii_domain, is_domain

# Second levels under which registries of countries give out names, as in co.uk; DNS itself would give the proof that
# such a name is nobody's, this only says so at once.
_SHARED = frozenset(("ac", "co", "com", "edu", "go", "gob", "gov", "gv", "ltd", "mil", "ne", "net", "or", "org", "plc"))
# Names that mean something else than a domain somebody owns (RFC 6761 and its followers), but for `example`.
_SPECIAL = frozenset(("arpa", "invalid", "local", "localhost", "internal", "onion"))


def clean_domain(text: str) -> str:
    """Return the domain in `text` in lower-case ASCII. Raises ValueError with a sentence."""
    domain = ascii_domain(text.strip())
    labels = domain.split(".")
    if not is_domain(domain) or not _is_real(labels):
        raise ValueError("must be a domain such as example.com.")
    if labels[-1] in _SPECIAL or (len(labels) == 2 and labels[0] in _SHARED and len(labels[1]) == 2):
        raise ValueError("is not a domain that one owner can have.")
    return domain


def _is_real(labels: list[str]) -> bool:
    """Whether it is no IP address, and international labels can be read back."""
    try:
        idna.decode(".".join(labels))
    except idna.IDNAError:
        return False
    return not labels[-1].isdecimal()
