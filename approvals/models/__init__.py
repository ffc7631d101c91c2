"""The tables of the desk. Each QuerySet stands beside its model."""

from approvals.models.collaboration import (
    Claim,
    Comment,
    OpenedPart,
    Question,
    Reminder,
    SavedView,
    Snooze,
    StepDone,
)
from approvals.models.decisions import Decision, DecisionAttempt
from approvals.models.replacements import CommandedMail, Replacement
from approvals.models.reviews import Arrival, Brake, Cap, Review
from approvals.models.risk_rules import OwnWord, RuleWeight, UsualTexts
from approvals.models.verdicts import Verdict

__all__ = [
    "Arrival",
    "Brake",
    "Cap",
    "Claim",
    "CommandedMail",
    "Comment",
    "Decision",
    "DecisionAttempt",
    "OpenedPart",
    "OwnWord",
    "Question",
    "Reminder",
    "Replacement",
    "Review",
    "RuleWeight",
    "SavedView",
    "Snooze",
    "StepDone",
    "UsualTexts",
    "Verdict",
]
