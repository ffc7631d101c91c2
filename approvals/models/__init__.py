"""The review desk's models: decisions, verdicts, reviews, claims, edits and the like.
Each model's QuerySet is in the same file.
"""

from approvals.models.collaboration import (
    Claim,
    Comment,
    OpenedPart,
    Passage,
    Question,
    Reminder,
    SavedView,
    Snooze,
    StepDone,
)
from approvals.models.decisions import Decision
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
    "OpenedPart",
    "OwnWord",
    "Passage",
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
