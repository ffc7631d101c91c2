"""The tables of the review desk: decisions, what people leave at a message, and commanded mail."""

from approvals.models.collaboration import Claim, Comment, Question, RuleWeight, SavedView, Snooze
from approvals.models.commanded_mail import CommandedMail
from approvals.models.decisions import Decision, DecisionAttempt, Verdict
from approvals.models.opened_parts import OpenedPart

__all__ = [
    "Claim",
    "CommandedMail",
    "Comment",
    "Decision",
    "DecisionAttempt",
    "OpenedPart",
    "Question",
    "RuleWeight",
    "SavedView",
    "Snooze",
    "Verdict",
]
