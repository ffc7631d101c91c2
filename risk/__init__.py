"""Finds what is risky about a message. Pure: reads no tables and no network.

The checks of what a message says run in the parser, because they read any text with
patterns (`jobs.CHECKS`). Those that compare it with what the desk knows run where the
message is stored, and use no patterns (`CHECKS`).

To add a finding: publish its rule in `rules.txt` and `docs/findings.md`, write a
function named like the rule in the module that fits, and list that function in one of
the two.
"""

from risk import addresses
from risk.findings import Check

CHECKS: tuple[Check, ...] = (
    addresses.lookalike_recipient,
    addresses.first_contact,
    addresses.many_recipients,
    addresses.odd_address,
    addresses.reply_elsewhere,
)
