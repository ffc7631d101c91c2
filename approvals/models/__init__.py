"""The tables of approvals, by what they tell of."""

from approvals.models.connections import Connection, Mailbox, WebhookEvent
from approvals.models.decisions import Decision, DecisionAttempt, Verdict
from approvals.models.messages import Message, Revision

__all__ = ["Connection", "Decision", "DecisionAttempt", "Mailbox", "Message", "Revision", "Verdict", "WebhookEvent"]
