"""The tables of approvals, by what they tell of."""

from approvals.models.commands import CommandedMail
from approvals.models.connections import (
    Connection,
    GateRefusal,
    KeyOwner,
    KnownContact,
    Mailbox,
    SuppressedAddress,
    WebhookEvent,
)
from approvals.models.decisions import Decision, DecisionAttempt, Verdict
from approvals.models.desk import Claim, Comment, Question, RuleWeight, SavedView, Snooze
from approvals.models.enclosed import EnclosedFile, OpenedPart
from approvals.models.messages import Message, Revision
from approvals.models.threads import Thread, ThreadLetter

__all__ = [
    "Claim",
    "CommandedMail",
    "Comment",
    "Connection",
    "Decision",
    "DecisionAttempt",
    "EnclosedFile",
    "GateRefusal",
    "KeyOwner",
    "KnownContact",
    "Mailbox",
    "Message",
    "OpenedPart",
    "Question",
    "Revision",
    "RuleWeight",
    "SavedView",
    "Snooze",
    "SuppressedAddress",
    "Thread",
    "ThreadLetter",
    "Verdict",
    "WebhookEvent",
]
