"""Kinds of acts that narrow the ledger: one act, all of an area, or a group that people think in. Pure."""

from audit.actions import ACTIONS, SETTINGS

# By a word; each with its label and what belongs to it: areas, or acts themselves.
_GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "decisions": ("Decisions", ("verdict", "decision", "bulk")),
    "mail": ("What became of mail", ("message", "attachment", "thread")),
    "reading": (
        "Reading",
        ("message.opened", "message.served", "attachment.served", "thread.opened", "ledger.seen_again"),
    ),
    "people": ("People and sign-ins", ("person", "role", "access")),
    "settings": ("Settings", tuple(sorted(SETTINGS))),
    "webhooks": ("Webhooks", ("webhook", "hook")),
    "alerts": ("Alerts", ("alert", "destination")),
    "ledger": ("The ledger itself", ("ledger",)),
}
GROUPS = {name: label for name, (label, _) in _GROUPS.items()}


def area_of(action: str) -> str:
    """Return what stands before the dot."""
    return action.partition(".")[0]


AREAS = frozenset(map(area_of, ACTIONS))


def read_kind(asked: str) -> str:
    """Return a group, an area or an act in its one spelling, empty for what is none of these."""
    text = "_".join(asked.strip().lower().replace("_", " ").split())
    if text in _GROUPS or text in AREAS or text in ACTIONS:
        return text
    return next((action for action in ACTIONS if action.replace(".", "_") == text), "")


def actions_of(kind: str) -> list[str]:
    """Return the acts that a group, an area or an act stands for."""
    if kind in ACTIONS:
        return [kind]
    members = _GROUPS[kind][1] if kind in _GROUPS else (kind,)
    return [action for action in ACTIONS if action in members or area_of(action) in members]


def kind_label(kind: str) -> str:
    """Return a kind as people read it."""
    return GROUPS.get(kind) or kind.replace(".", " ").replace("_", " ").capitalize()
