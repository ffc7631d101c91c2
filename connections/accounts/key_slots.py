"""The four places that a connection has for keys, what each turns on, and whether a key belongs there. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Slot:
    """A place for a key. `needs` are the scopes it cannot do without."""

    name: str
    label: str
    turns_on: str
    without: str
    needs: tuple[str, ...]

    @property
    def field(self) -> str:
        """The connection's attribute that holds the key."""
        return f"{self.name}_key"


SLOTS = {
    slot.name: slot
    for slot in (
        Slot(
            "oversight",
            "Oversight",
            "Reads what is held, and takes decisions to MultiMail.",
            "nothing works.",
            ("oversight",),
        ),
        Slot(
            "read",
            "Read",
            "Threads, attached files, and what became of mail whose outcome is in doubt.",
            "threads and files stay closed, and doubt is found out later.",
            ("read",),
        ),
        Slot(
            "admin",
            "Admin",
            "Pushes allowlists to the gate, registers the webhook, and opens the pages of mailboxes and keys.",
            "those pages say what is missing; mail is reviewed all the same.",
            ("admin",),
        ),
        Slot(
            "agent",
            "Agent",
            "Commands in Discord that write mail.",
            "nobody can write mail from Discord.",
            ("read", "send"),
        ),
    )
}


def problem_in(slot: Slot, scopes: Sequence[str] | None) -> str:
    """Return as a sentence why a key with these scopes does not belong there; nothing where it does.

    None means that MultiMail does not tell what the key may do.
    """
    if scopes is None:
        return ""
    if slot.name == "oversight" and "send" in scopes:
        return (
            "This key may also send mail, so that one program could write a message and approve it. Make a key with "
            "the scope oversight alone, and put that in."
        )
    missing = [scope for scope in slot.needs if scope not in _with_implied(scopes)]
    if not missing:
        return ""
    better = _slot_for(scopes)
    may = ", ".join(scopes) or "nothing"
    here = f"{slot.label} needs a key with the scope{'s' if len(slot.needs) > 1 else ''} {' and '.join(slot.needs)}."
    if better is None or better is slot:
        return f"This key may: {may}. {here}"
    article = "an" if better.label[0] in "AO" else "a"
    return f"This is {article} {better.label.lower()} key (it may: {may}); it belongs into {better.label}. {here}"


def _with_implied(scopes: Sequence[str]) -> set[str]:
    return {*scopes, *(("read",) if "admin" in scopes else ())}


def _slot_for(scopes: Sequence[str]) -> Slot | None:
    """Return the place that the strongest of these scopes is for."""
    if "admin" in scopes:
        return SLOTS["admin"]
    if "oversight" in scopes and "send" not in scopes:
        return SLOTS["oversight"]
    if "send" in scopes:
        return SLOTS["agent"]
    return SLOTS["read"] if "read" in scopes else None


def shown_start(key: str) -> str:
    """Return as much of a key as may be shown: its public prefix, such as mm_live."""
    return "_".join(key.split("_")[:2])[:7] if key.startswith(("mm_live_", "mm_test_")) else ""
