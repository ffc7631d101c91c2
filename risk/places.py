"""Where on the message page the reader finds what a rule saw: the anchors that findings point to and pages carry."""

import hashlib

from common.fingerprint import normalise_address

ADDRESSES, SUBJECT, SHEET, LINKS, ATTACHMENTS = "#addresses", "#subject", "#sheet", "#links", "#attachments"

# The way to look at the letter that sets its HTML against its text.
PARTS = "#parts"

# Anchors in the letter's own frame, as showing.marking writes them: "#hidden-2" is the second box of hidden text.
IN_FRAME = ("#hidden-", "#link-", "#part-", "#ink-")


def address_id(address: str) -> str:
    """Return the id of an address on the page. It stands for all of its spellings, and holds no character of it."""
    spelled = normalise_address(address).lower().encode("utf-8", "replace")
    return f"address-{hashlib.blake2b(spelled, digest_size=5).hexdigest()}"


def at_address(address: str) -> str:
    """Return the anchor of an address."""
    return f"#{address_id(address)}"


def marked(mark: str, otherwise: str = SHEET) -> str:
    """Return the anchor of a mark in the frame; another place where the letter has no such mark."""
    return f"#{mark}" if mark else otherwise
