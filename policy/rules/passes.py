"""The passes of the policy as values: which messages two admins let be sent without a
person, why a message is not one of them, and how a pass is written as a sentence. Pure:
reads no tables and no clock.

Where the conditions of a rule hold in doubt, those of a pass do not: it admits only a
message that certainly fits. A pass counts only where no rule applies, so
adding a rule never lowers what a message needs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from django.db.models import TextChoices

from policy.rules.conditions import (
    Conditions,
    LinksElsewhere,
    MessageFacts,
    ToUnlisted,
    Words,
    exactly,
)
from policy.rules.rules import Part, RuleError
from policy.rules.wording import Names, any_of

# How far ahead its end may be when it is signed, and how many messages it may send in
# 24 hours.
LONGEST = timedelta(days=366)
MOST_A_DAY = 1000
# Everything that the message may have come from.
_AGENT_ONLY = frozenset({"agent"})
_NONE: frozenset[Any] = frozenset()


class Misfit(TextChoices):
    """Why a pass does not send a message, as a code and as a sentence."""

    UNKNOWN = "unknown", "The desk does not know enough about it."
    CONTENT = "content", "A part of it cannot be seen here."
    KEY = "key", "It came with another API key."
    MAILBOX = "mailbox", "It is from another mailbox."
    ORIGIN = "origin", "It did not come from an agent alone."
    TRIES = "tries", "Changes were requested of it before."
    SANDBOX = "sandbox", "It is a test message."
    RECIPIENTS = "recipients", "A recipient is on none of the lists."
    FINDINGS = "findings", "It has a finding."
    ATTACHMENTS = "attachments", "It has an attachment."
    SUM = "sum", "It names a larger sum, one in another currency, or an unclear one."
    LINKS = "links", "It has a link to another site."
    APART = "apart", "It came with too many others."
    THREAD = "thread", "A newer message of its thread, or the thread, was not read."
    ENDED = "ended", "It would leave after the pass ends."
    RULE = "rule", "A rule of the policy applies to it."
    GONE = "gone", "The pass is no longer part of the policy, or has ended."


@dataclass(frozen=True)
class Sending:
    """What a pass asks of a message besides its `MessageFacts`: when it would leave,
    None if that is not known, and the codes of other circumstances that keep any pass
    from sending it.
    """

    leaves_at: datetime | None = None
    against: frozenset[Misfit] = frozenset()


@exactly
@dataclass(frozen=True, kw_only=True)
class Pass(Part):
    """Messages that are sent without a person: of these API keys and mailboxes, to
    recipients who are each on one of these allowlists (`when`), until `ends_at`, and at
    most `a_day` in 24 hours.

    `most` is the highest sum that they may name, in `currency`; None for no sum at all.
    `link_domains` are entries as in allowlists, without addresses.
    """

    ends_at: datetime
    a_day: int
    most: Decimal | None = None
    currency: str = ""
    link_domains: Words = frozenset()

    def checked(self) -> Self:
        when = self.when
        if not (when.keys and when.mailboxes and when.lists and len(self.id) <= 12):
            raise RuleError("A pass needs an API key, a mailbox and an allowlist.")
        if replace(when, keys=_NONE, mailboxes=_NONE, lists=_NONE) != Conditions():
            raise RuleError("A pass has a condition that it cannot have.")
        if bool(self.currency) != (self.most is not None):
            raise RuleError("Write an amount and its currency, or neither.", "currency")
        if not 1 <= self.a_day <= MOST_A_DAY:
            raise RuleError(f"A pass sends 1 to {MOST_A_DAY:,} messages a day.")
        if self.ends_at.tzinfo is None:
            raise RuleError("The end of a pass needs a time zone.")
        return super().checked()

    def sentence(self, names: Names) -> str:
        when = self.when
        sums = "no sum"
        if self.most is not None:
            sums = f"at most {self.most:f} {self.currency}"
        links = "no links"
        if self.link_domains:
            links = f"links to {any_of(self.link_domains)} only"
        return (
            f"Messages of the API key {names.any_of('keys', when.keys)} from "
            f"{names.any_of('mailboxes', when.mailboxes)} to recipients on the allowlist "
            f"{names.any_of('lists', when.lists)}, that name {sums}, have no finding, no attachment and {links}, "
            f"are sent without a person; at most {self.a_day:,} a day, until "
            f"{self.ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
        )

    def misfits(
        self, facts: MessageFacts, sending: Sending, *, is_asked: bool
    ) -> tuple[Misfit, ...]:
        """Return why it does not send a message; empty if it does. That a rule asks
        anything of the message (`is_asked`) is a reason, whatever the rule asks for.
        """
        known = [getattr(facts, one.name) for one in fields(facts)]
        unlisted = ToUnlisted(lists_except=self.when.lists)
        keeps = {
            Misfit.RULE: is_asked,
            Misfit.UNKNOWN: None in (*known, facts.seen_recipients, sending.leaves_at),
            Misfit.KEY: facts.key not in self.when.keys,
            Misfit.MAILBOX: facts.mailbox not in self.when.mailboxes
            or facts.is_inbound,
            Misfit.ORIGIN: facts.origins != _AGENT_ONLY or facts.is_edited,
            Misfit.TRIES: facts.tries != 1,
            Misfit.RECIPIENTS: not facts.recipients
            or len(facts.lists_of or ()) != len(facts.recipients)
            or unlisted.fits(facts),
            Misfit.FINDINGS: facts.findings != frozenset() or facts.risk_level != "",
            Misfit.ATTACHMENTS: facts.attachments != frozenset(),
            Misfit.SUM: bool(facts.unread_sums)
            or any(
                self.most is None
                or one.currency != self.currency
                or one.value > self.most
                for one in facts.amounts or ()
            ),
            Misfit.LINKS: LinksElsewhere(links_except=self.link_domains).fits(facts),
            Misfit.ENDED: sending.leaves_at is not None
            and sending.leaves_at >= self.ends_at,
        }
        return (*(one for one in keeps if keeps[one]), *sorted(sending.against))


def passes_loosen(before: Iterable[Pass], after: Iterable[Pass]) -> bool:
    """Whether `after` may send a message that `before` did not: all that a pass may
    change without that is that it ends sooner, sends fewer a day, or is gone.
    """
    earlier = {one.id: one for one in before}
    for one in after:
        old = earlier.get(one.id)
        if (
            old is None
            or replace(one, ends_at=old.ends_at, a_day=old.a_day) != old
            or one.ends_at > old.ends_at
            or one.a_day > old.a_day
        ):
            return True
    return False
