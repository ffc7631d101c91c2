"""Finds what is risky about a message: runs all checks on its content, and returns
their findings, worst first. Pure: reads no tables and no network.

To add a finding: publish its rule in `rules.py` and `docs/findings.md`, write a
function named like the rule in the module that fits, and list that function in
CHECKS here.
"""

from itertools import islice

from common.fingerprint import Content
from rendering import RenderedMessage
from risk import (
    addresses,
    check_content,
    check_greeting,
    check_secrets,
    own_words,
)
from risk.findings import Check, Finding, RiskContext, worst_first

# How many findings one check makes at most.
MOST = 20
# Each check has the name of the rule whose findings it yields, except `encoded_words`,
# which yields findings of `looks_different`.
CHECKS: tuple[Check, ...] = (
    addresses.name_says_address,
    check_greeting.greeting_differs,
    check_content.rejected_before,
    addresses.lookalike_recipient,
    addresses.off_allowlist,
    addresses.first_contact,
    addresses.many_recipients,
    addresses.odd_address,
    addresses.reply_elsewhere,
    check_content.link_text_lies,
    check_content.odd_link,
    check_content.looks_different,
    check_content.encoded_words,
    check_content.invisible_characters,
    check_content.remote_content,
    check_content.shown_as_source,
    check_content.not_visible,
    check_secrets.secret_in_body,
    check_secrets.payment_details,
    check_content.parts_differ,
    check_content.attachment_runs_code,
    own_words.own_word,
)


def find_risks(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> tuple[Finding, ...]:
    """Return all findings about a message, worst first."""
    return worst_first(
        found
        for check in CHECKS
        for found in islice(check(content, rendered, context), MOST)
    )
