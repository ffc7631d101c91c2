"""Examines a content while the mirror stores it: what is risky about it, and what the queue shows of it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from approvals.examination.context import risk_context
from approvals.examination.previous_version import sent_back_before
from approvals.examination.queue_columns import queue_columns
from common.fingerprint import Content
from mirror.models import Message
from rendering import render_message
from risk import find_risks
from risk.findings import may_have_left as may_have_left_finding
from risk.findings import worst_first


class DeskExaminer:
    """The review desk's answers to the mirror (`mirror.examination.Examiner`)."""

    def version_before(self, message: Message) -> Message | None:
        """Return the message whose request for changes this one answers; None where there is none."""
        decision = sent_back_before(message)
        return decision.message if decision else None

    def findings(self, message: Message, content: Content, *, may_have_left: bool) -> list[dict[str, Any]]:
        """Return the findings, worst first."""
        found = find_risks(content, render_message(content), risk_context(message, content))
        if may_have_left:
            found = worst_first((*found, may_have_left_finding()))
        return [asdict(finding) for finding in found]

    def queue_columns(
        self, message: Message, content: Content, findings: Iterable[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the columns that the queue sorts, filters and searches by."""
        return queue_columns(message, content=content, findings=findings)
