"""The review desk's models: decisions, verdicts, reviews, claims, edits and the like.
Each model's QuerySet is in the same file.
"""

from approvals.models.bulk_acts import BulkAct, BulkItem
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
from approvals.models.reviews import Arrival, Brake, Cap, Review, Verdict
from approvals.models.usual_texts import UsualTexts
