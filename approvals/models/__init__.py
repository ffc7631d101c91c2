"""The tables of the review desk: decisions, what people leave at a message, and commanded mail."""

from approvals.models.commands import CommandedMail
from approvals.models.decisions import Decision, DecisionAttempt, Verdict
from approvals.models.desk import Claim, Comment, Question, RuleWeight, SavedView, Snooze

__all__ = [
    "Claim",
    "CommandedMail",
    "Comment",
    "Decision",
    "DecisionAttempt",
    "Question",
    "RuleWeight",
    "SavedView",
    "Snooze",
    "Verdict",
]
