"""The tables of approvals, by what they tell of."""

from approvals.models.connections import Connection, Mailbox, WebhookEvent
from approvals.models.decisions import Decision, DecisionAttempt, Verdict
from approvals.models.desk import Claim, Comment, RuleWeight, SavedView, Snooze
from approvals.models.messages import Message, Revision

__all__ = [
    "Claim",
    "Comment",
    "Connection",
    "Decision",
    "DecisionAttempt",
    "Mailbox",
    "Message",
    "Revision",
    "RuleWeight",
    "SavedView",
    "Snooze",
    "Verdict",
    "WebhookEvent",
]
