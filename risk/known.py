"""The checks that compare a message with what the desk knows: earlier recipients,
allowlists, rejected messages, the organisation's own words. They run where the message
is stored, and use no patterns.
"""

from collections.abc import Iterator

from common.fingerprint import Content
from rendering import RenderedMessage
from risk import addresses, own_words
from risk.findings import Check, Finding, RiskContext, finding


def rejected_before(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """A similar message that was rejected before. By whom and why is only said if it
    was in the same mailbox, so that the reader may know.
    """
    before = context.rejected
    if before is None:
        return
    where = " in another mailbox"
    reason = ""
    evidence: tuple[str, ...] = ()
    if before.in_same_mailbox:
        where = f" by {before.by}" if before.by else ""
        reason = "No reason was given."
        if before.reason:
            reason = f"“{before.reason[:200]}”"
        evidence = (before.public_id,)
    yield finding(
        "rejected_before",
        f"A message with the same text was rejected{where} on {before.at}.",
        reason,
        evidence,
    )


CHECKS: tuple[Check, ...] = (
    rejected_before,
    addresses.lookalike_recipient,
    addresses.off_allowlist,
    addresses.first_contact,
    addresses.many_recipients,
    addresses.odd_address,
    addresses.reply_elsewhere,
    own_words.own_word,
)
