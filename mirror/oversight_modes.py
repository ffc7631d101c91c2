"""The oversight modes of a mailbox, from the strictest to the loosest: what each means
in words, which is looser, and what changes from one to another. Reads no database.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """An oversight mode of MultiMail: its name, our name, and what happens to received
    and sent mail.
    """

    name: str
    words: str
    received: str
    sent: str


# The strictest first.
MODES = [
    Mode(
        "read_only",
        "Read only",
        "Can be read by the agent.",
        "Nothing can be sent.",
    ),
    Mode(
        "gated_all",
        "Hold incoming and outgoing mail",
        "Waits here until somebody decides.",
        "Waits here until somebody decides.",
    ),
    Mode(
        "gated_send",
        "Hold outgoing mail",
        "Goes to the agent at once.",
        "Waits here until somebody decides. Mail to recipients on a bypass list does not wait.",
    ),
    Mode(
        "monitored",
        "Monitored",
        "Goes to the agent at once.",
        "Sent at once without review. The account's oversight address gets a copy.",
    ),
    Mode(
        "autonomous",
        "Autonomous",
        "Goes to the agent at once.",
        "Sent at once without review, and nobody gets a copy.",
    ),
]
NAMES = tuple(mode.name for mode in MODES)
AUTONOMOUS = NAMES[-1]
_GATED = ("gated_all", "gated_send")


def mode_named(name: str) -> Mode | None:
    """Return the mode with this name, or None for a name that this version does not
    know.
    """
    return next((mode for mode in MODES if mode.name == name), None)


def mode_words(name: str) -> str:
    """Return the desk's word for a mode with MultiMail's name in brackets; only the
    name if this version does not know it.
    """
    mode = mode_named(name)
    return f"{mode.words} ({name})" if mode else name


def is_looser(mode: str, *, than: str) -> bool:
    """Whether `mode` is looser than another. If one of the two is unknown, it counts as
    looser, unless both are the same or `mode` is the strictest.
    """
    if mode not in NAMES or than not in NAMES:
        return mode not in (than, NAMES[0])
    return NAMES.index(mode) > NAMES.index(than)


def is_below(mode: str, *, per_call: bool, minimum: str) -> bool:
    """Whether a mailbox in this mode is looser than a minimum; no if that is empty.

    With `per_call` a call may loosen its own oversight, so the mailbox is below every
    minimum but the loosest. An empty mode was not read yet and is not below; a mode
    that this version does not know is.
    """
    if not minimum or not mode:
        return False
    return is_looser(mode, than=minimum) or (
        per_call and mode != NAMES[0] and minimum != AUTONOMOUS
    )


def is_minimum_lower(minimum: str, *, than: str) -> bool:
    """Whether a minimum allows more than another one. An empty minimum
    allows everything.
    """
    return bool(than) and is_looser(minimum or AUTONOMOUS, than=than)


def consequences(address: str, *, before: str, after: str) -> list[str]:
    """Return sentences about what changes when a mailbox gets the mode `after`."""
    sentences = []
    if after not in _GATED and (
        before in (*_GATED, "read_only") or before not in NAMES
    ):
        sentences += [
            f"Mail from {address} will be sent without review.",
            "This desk learns about it after it was sent: no risk rule or kill switch here can stop it.",
        ]
    if before == "read_only":
        sentences.append(f"Agents can send from {address}. Now they cannot.")
    if before == "gated_all":
        sentences.append("Received mail will reach the agent without review.")
    if after == "autonomous":
        sentences.append("Nobody gets a copy of sent mail.")
    return sentences
