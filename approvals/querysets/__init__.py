"""Queries of decisions and verdicts, with a name."""

from approvals.querysets.decisions import DecisionQuerySet
from approvals.querysets.figures import VerdictQuerySet

__all__ = [
    "DecisionQuerySet",
    "VerdictQuerySet",
]
