"""The demo agent's letters, in the order in which it writes them."""

from demo.letters.business import BUSINESS
from demo.letters.letter import Letter
from demo.letters.risky import RISKY
from demo.letters.support import SUPPORT
from demo.letters.unasked import UNASKED

_BY_NAME = {letter.name: letter for letter in (*UNASKED, *SUPPORT, *BUSINESS, *RISKY)}

# Written at once on the first start: what a newcomer sees. The true Acme comes before the look-alike.
_OPENING = """
    received-acme moved-northwind backup-contoso
    invoice refund meeting look-alike outage pings-everyone contract mass-mail program lying-pdf return-label
"""
_LATER = """
    saml hidden-text outreach late-parcel quote leaked-key welcome reminder turned-name bug-fixed interview
    internal-thread release-notes cancellation no-to-feature old-address maintenance data-request
"""
OPENING: tuple[Letter, ...] = tuple(_BY_NAME[name] for name in _OPENING.split())
LETTERS: tuple[Letter, ...] = (*OPENING, *(_BY_NAME[name] for name in _LATER.split()))
