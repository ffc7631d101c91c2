"""What stood before a person when they gave a verdict: kept with it, and told in the ledger, which outlives it."""

from collections.abc import Mapping, Sequence
from typing import Any

from approvals.examination.weights import weights_to_show
from mirror.models import Message
from policy.evaluation import Ruling
from risk import restored, score
from risk.score import level_of, points_of

VERSION = 1
# A detail of the ledger tells so many findings; all of them stand with the verdict.
MAX_TOLD = 20


def seen_by(message: Message, *, ruling: Ruling, unread: Sequence[str]) -> dict[str, Any]:
    """Return what a locked message's page says at the moment of a verdict: its version, findings, ruling, unread parts.

    The findings count by the weights of this moment, which an admin may change later.
    """
    revision = message.revision
    assert revision is not None, "nobody gives a verdict on what was not fetched"
    found = [restored(one) for one in revision.findings]
    weights = weights_to_show() if found else {}
    together = score(found, weights)
    findings = [
        {
            "rule": one.rule,
            "version": one.version,
            "points": points_of(one, weights),
            "level": level_of(points_of(one, weights)),
            "sentence": one.sentence,
            "detail": one.detail,
        }
        for one in found
    ]
    return {
        "v": VERSION,
        "revision": revision.number,
        "fingerprint": revision.fingerprint,
        "findings": sorted(findings, key=lambda one: -one["points"]),
        "points": together.points,
        "level": together.level,
        "ruling": list(ruling.reasons),
        "unread": list(unread),
    }


def told_of(seen: Mapping[str, Any]) -> dict[str, str]:
    """Return the same as details of an entry, one finding or sentence a line."""
    findings = [f"{one['sentence']} ({one['rule']}, {one['points']})" for one in seen["findings"]]
    left_out = [f"… and {len(findings) - MAX_TOLD} more"] if len(findings) > MAX_TOLD else []
    return {
        "version": str(seen["revision"]),
        "parts_unread": ", ".join(seen["unread"]),
        "risk": f"{seen['points']}{' ' + seen['level'] if seen['level'] else ''}",
        "findings": "\n".join([*findings[:MAX_TOLD], *left_out]),
        "ruling": "\n".join(seen["ruling"]),
    }
