"""The rule about letters that were rejected before and come again, a little changed or not at all."""

from collections.abc import Iterator

from risk.findings import Finding, Rejected, RiskContext, finding


def rejected_before(context: RiskContext) -> Iterator[Finding]:
    """What the desk found that says the same and was rejected; who, when and why, where its reader may know that."""
    before = context.rejected
    if before is None:
        return
    alike = "that says the same" if before.is_same else "that differs in a few words"
    sentence = f"A message {alike} was rejected {_by(before)}{before.at}."
    evidence = (before.public_id,) if before.in_same_mailbox else ()
    level = None if before.is_same else "notice"
    yield finding("rejected_before", sentence, _reason(before), evidence, level)  # type: ignore[arg-type]


def _by(before: Rejected) -> str:
    if not before.in_same_mailbox:
        return "in another mailbox on "
    return f"by {before.by} on " if before.by else "on "


def _reason(before: Rejected) -> str:
    if not before.in_same_mailbox:
        return ""
    return f"“{before.reason[:200]}”" if before.reason else "No reason was given."
