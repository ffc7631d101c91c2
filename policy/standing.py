"""The scope of a standing approval: which messages two admins agreed to have approved
without a person. Compares a message with it, and writes it as a sentence. Pure: reads
no tables.

Where the conditions of a rule hold in doubt, a scope does not: it admits only a message
that certainly fits.
"""

from dataclasses import dataclass
from typing import Any

from common.mail_addresses import patterns_for
from policy.rules.conditions import Exact, MessageFacts, as_json, exactly, from_json
from policy.rules.rules import listed

ORIGINS = frozenset({"agent"})
# With more, nobody would read the sentence that the admins sign.
MOST_RECIPIENTS = 25
_UNCERTAIN = "with an uncertain currency"


@dataclass(frozen=True)
class Draft:
    """What a standing approval needs to know about a message besides its
    `MessageFacts`.

    `is_apart`: it was set apart because too many came at once. `is_followed`: another
    message came in its thread after it was written.
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
    """The messages that a standing approval admits: from one API key and mailbox, with
    a text of one shape, to these addresses or domains only.

    `sums` has the highest sum that a message may name, by code of the currency; sums in
    other currencies are not admitted.
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
        """Return why a message is not within the scope, one sentence for each reason;
        empty if it is.
        """
        is_from = (
            facts.connection == self.connection
            and facts.mailbox == self.mailbox
            and not facts.is_inbound
        )
        has_this_key = bool(self.key) and facts.key == f"{self.connection}:{self.key}"
        covers_recipients = (
            bool(facts.recipients)
            and facts.sees_all_recipients
            and not any(
                set(self.recipients).isdisjoint(patterns_for(one))
                for one in facts.recipients or ()
            )
        )
        highest_sums = dict(self.sums)
        covers_sums = all(
            one.currency in highest_sums and one.value <= highest_sums[one.currency]
            for one in facts.amounts or ()
        )
        checks = (
            ("It is from another mailbox.", is_from),
            ("It came with another API key.", has_this_key),
            (
                "Its text is not the usual one.",
                bool(self.shape) and draft.shape == self.shape,
            ),
            ("It goes to somebody else.", covers_recipients),
            (
                "It has a finding.",
                facts.findings == frozenset() and facts.risk_level == "",
            ),
            (
                "Nobody has written to a recipient before.",
                # None if the desk knows nobody yet: the recipients are covered.
                facts.is_first_contact is not True,
            ),
            ("It has an attachment.", facts.attachments == frozenset()),
            (
                "A sum in it could not be read.",
                facts.amounts is not None and facts.unread_sums == (),
            ),
            ("It names a larger sum, or one in another currency.", covers_sums),
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
        return tuple(sentence for sentence, fits in checks if not fits)

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
    """Return what a scope admits as a sentence. `key` and `mailbox` are names, and
    `subject` is that of an example message.
    """
    whom = [
        one if "@" in one else f"anybody at {one.removeprefix('*.')}"
        for one in scope.recipients
    ]
    sums = [f"{value:f} {currency or _UNCERTAIN}" for currency, value in scope.sums]
    most = f"sums up to {', '.join(sums)}" if sums else "no sum of money"
    return (
        f"Messages of the API key {key} from {mailbox} to {listed(whom, 'or') or 'nobody'}, with the text of "
        f"“{subject}”, where only names, numbers, dates, addresses in the text and the paths of links may differ; with "
        f"{most}, no finding, no attachment and no link to another site."
    )
