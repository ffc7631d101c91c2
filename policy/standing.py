"""Which messages a standing approval, which two admins signed, admits without a person.
Pure.

The opposite of a rule's conditions: those ask for more in doubt, this admits only what
is certain to fit.
"""

from dataclasses import dataclass
from typing import Any

from common.mail_addresses import patterns_for
from policy.rules.conditions import Exact, MessageFacts, as_json, exactly, from_json
from policy.rules.rules import listed

ORIGINS = frozenset({"agent"})
# So that the sentence of a standing approval can be read.
MOST_RECIPIENTS = 25
_UNCERTAIN = "with an uncertain currency"


@dataclass(frozen=True)
class Draft:
    """What a standing approval asks of a message besides its facts. `is_followed`: its
    thread has gone on since.
    """

    shape: str
    sender_name: str = ""
    reply_to: str = ""
    is_sandbox: bool = False
    is_scheduled: bool = False
    is_apart: bool = False
    is_followed: bool = False


@exactly
@dataclass(frozen=True)
class StandingScope:
    """The class of messages: from one API key and mailbox, of one shape, to these
    addresses or domains only.

    `sums` is the most that a message may name in each currency, by its code: what is
    not in it may not be named.
    """

    connection: int
    mailbox: int
    key: str
    shape: str
    recipients: tuple[str, ...]
    sums: tuple[tuple[str, Exact], ...] = ()
    sender_name: str = ""
    reply_to: str = ""

    def misfits(self, facts: MessageFacts, draft: Draft) -> tuple[str, ...]:
        """Return why a message does not belong to the class, a sentence for each
        reason.
        """
        is_from = (
            facts.connection == self.connection
            and facts.mailbox == self.mailbox
            and not facts.is_inbound
        )
        has_this_key = bool(self.key) and facts.key == f"{self.connection}:{self.key}"
        names_all = (
            bool(facts.recipients)
            and facts.sees_all_recipients
            and not any(
                set(self.recipients).isdisjoint(patterns_for(one))
                for one in facts.recipients or ()
            )
        )
        bounds = dict(self.sums)
        bounds_all = all(
            one.currency in bounds and one.value <= bounds[one.currency]
            for one in facts.amounts or ()
        )
        asked = (
            ("It is from another mailbox.", is_from),
            ("It came with another API key.", has_this_key),
            (
                "Its text is not the usual one.",
                bool(self.shape) and draft.shape == self.shape,
            ),
            ("It goes to somebody else.", names_all),
            (
                "It has a finding.",
                facts.findings == frozenset() and facts.risk_level == "",
            ),
            ("It contains an own word.", facts.own_words == frozenset()),
            (
                "Nobody has written to a recipient before.",
                facts.is_first_contact is False,
            ),
            ("It has an attachment.", facts.attachments == frozenset()),
            (
                "A sum in it could not be read.",
                facts.amounts is not None and facts.unread_sums == (),
            ),
            ("It names a larger sum, or one in another currency.", bounds_all),
            ("It did not come from an agent.", facts.origins == ORIGINS),
            ("Changes were requested of it before.", facts.tries == 1),
            (
                "The sender's name is another one.",
                draft.sender_name == self.sender_name,
            ),
            ("Replies would go to another address.", draft.reply_to == self.reply_to),
            ("It is a test message.", not draft.is_sandbox),
            ("It is to be sent at a certain time.", not draft.is_scheduled),
            ("It came with too many others.", not draft.is_apart),
            (
                "A message came in its thread after it was written.",
                not draft.is_followed,
            ),
        )
        return tuple(sentence for sentence, fits in asked if not fits)

    def as_json(self) -> dict[str, Any]:
        """Return the scope as it is stored."""
        return as_json(self)

    @classmethod
    def from_json(cls, stored: object) -> "StandingScope":
        """Return the scope that `as_json` wrote. Raises ValueError for anything else."""
        try:
            return from_json(cls, stored)
        except ValueError as error:
            raise ValueError(
                "The scope of this standing approval cannot be read."
            ) from error


def sentence(scope: StandingScope, *, key: str, mailbox: str, subject: str) -> str:
    """Return what a scope admits as a sentence, with the names of its key and mailbox
    and an example's subject.
    """
    whom = []
    for one in scope.recipients:
        whom.append(one if "@" in one else f"anybody at {one.removeprefix('*.')}")
    sums = [f"{value:f} {currency or _UNCERTAIN}" for currency, value in scope.sums]
    most = f"sums up to {', '.join(sums)}" if sums else "no sum of money"
    return (
        f"Messages of the API key {key} from {mailbox} to {listed(whom, 'or') or 'nobody'}, with the text of "
        f"“{subject}”, where only names, numbers, dates, addresses in the text and the paths of links may differ; with "
        f"{most}, no finding, no attachment and no link to another site."
    )
