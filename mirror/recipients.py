"""Returns exactly whom a message goes to, for the allowlists: To, Cc, Bcc, and whom the
mailbox adds by itself.

The operator's own copy of monitored mail is not asked about: it goes to the account,
not to a recipient.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from common.fingerprint import Content
from common.patterns import comparable_text
from mirror.models import Revision
from risk.addresses import bare_address

# Stands for recipients that the source does not show. No list can contain it, so lists
# in force refuse it.
UNSEEN: Mapping[str, str] = {
    "to": "somebody in To (not visible with this key)",
    "cc": "somebody in Cc (not visible with this key)",
    "bcc": "somebody in Bcc (not visible with this key)",
}
_ADDED = ("auto_cc", "auto_bcc")


def written_to(content: Content) -> tuple[str, ...]:
    """Return each recipient of a content once, as written."""
    added = [one for name in _ADDED for one in _added(content.additions, name)]
    unseen = [words for name, words in UNSEEN.items() if name not in content.coverage]
    everybody = (*content.recipients, *added, *unseen)
    return tuple(dict.fromkeys(one for one in everybody if one))


def written_to_in(revision: Revision) -> tuple[str, ...]:
    """Return the recipients of a stored version, without reading the rest of it."""
    stored = revision.content
    to, cc, bcc = (
        tuple(map(str, stored.get(name) or ())) for name in ("to", "cc", "bcc")
    )
    return written_to(
        Content(
            to=to,
            cc=cc,
            bcc=bcc,
            additions=stored.get("additions") or {},
            coverage=tuple(revision.coverage),
        )
    )


def copied_to(revision: Revision, name: Literal["cc", "bcc"]) -> tuple[str, ...]:
    """Return who gets a stored version as a copy: those whom the message names, and
    whom the mailbox adds by itself.
    """
    stored = revision.content
    named = [UNSEEN[name]]
    if name in revision.coverage:
        named = [str(one) for one in stored.get(name) or ()]
    added = _added(stored.get("additions") or {}, f"auto_{name}")
    return tuple(dict.fromkeys((*named, *added)))


def in_compared_form(recipients: Iterable[str]) -> list[str]:
    """Return recipients as they are stored to be judged in great numbers; what is no
    address stays as it is.
    """
    return list(dict.fromkeys(comparable_text(one) for one in recipients))


def addresses_of(
    recipients: Iterable[str], *, sender: str, direction: str
) -> list[str]:
    """Return everybody who gets a message and, where it came in, who wrote it:
    normalised, without names.
    """
    who = (*recipients, sender) if direction == "inbound" else recipients
    found = (bare_address(one).lower() for one in who)
    return list(dict.fromkeys(one for one in found if "@" in one))


def _added(additions: Mapping[str, str], name: str) -> list[str]:
    parts = map(str.strip, str(additions.get(name) or "").split(","))
    return [part for part in parts if part]
