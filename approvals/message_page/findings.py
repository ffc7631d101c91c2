"""The findings as the message page shows them: worst first, each with its points and a
link to its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.urls import reverse

from approvals.decisions.shown import finding_name
from approvals.queue.filters import with_query
from mirror.models import Message
from risk import RULES, Finding, restored, score
from risk.findings import IN_FRAME, PARTS
from risk.score import Score, level_of, points_of

# How many pieces of a finding's evidence are shown.
MAX_EVIDENCE = 20


@dataclass(frozen=True)
class Jump:
    """Where a finding leads: an address that works without scripts, and the mark in the
    message's frame for scripts.
    """

    url: str
    words: str
    mark: str = ""


@dataclass(frozen=True)
class FoundLine:
    """One finding. `level` is what it counts for now: "high", "notice", or empty where
    an admin gave it no points.
    """

    rule: str
    words: str
    level: str
    sentence: str
    detail: str
    points: int
    # What its place on the page is called.
    name: str
    jump: Jump | None
    evidence: tuple[str, ...]


def findings_of(
    message: Message, weights: Mapping[str, int], *, query: str = ""
) -> tuple[list[FoundLine], Score]:
    """Return the findings of a message's current version, those that count most first,
    and what they add up to.

    Jumps keep `query`, the queue's part of the address, with its question mark.
    """
    findings = (
        [restored(one) for one in message.revision.findings] if message.revision else []
    )
    page = reverse("message", args=[message.public_id]) + query
    order = {name: number for number, name in enumerate(RULES)}
    lines = []
    for one in findings:
        rule = RULES.get(one.rule)
        points = points_of(one, weights)
        line = FoundLine(
            rule=one.rule,
            words=rule.words if rule else one.rule.replace("_", " "),
            level=level_of(points),
            sentence=one.sentence,
            detail=one.detail,
            points=points,
            name=finding_name(one),
            jump=jump_to(one, page),
            evidence=one.evidence[:MAX_EVIDENCE] if len(one.evidence) > 3 else (),
        )
        lines.append(line)
    lines.sort(key=lambda line: (-line.points, order.get(line.rule, len(order))))
    return lines, score(findings, weights)


def jump_to(one: Finding, page: str) -> Jump | None:
    """Return the link to a finding's evidence, from the message's page."""
    if one.rule == "rejected_before":
        if not one.evidence:
            return None
        return Jump(reverse("message", args=[UUID(one.evidence[0])]), "Open it")
    if one.anchor.startswith(IN_FRAME):
        mark = one.anchor.removeprefix("#")
        place = with_query(page, f"view=rendered&mark={mark}#sheet")
        return Jump(place, "Show it", mark)
    if one.anchor == PARTS:
        return Jump(with_query(page, "view=parts#sheet"), "Compare")
    return Jump(one.anchor, "Show it") if one.anchor else None
