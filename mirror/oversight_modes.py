"""What each oversight mode means, in words, and what changes from one to another. Pure."""

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


_WAITS = "Waits here until somebody decides."
_AT_ONCE = "Goes to the agent at once."
# The strictest first.
MODES = (
    Mode("read_only", "Read only", "Can be read by the agent.", "Nothing can be sent."),
    Mode("gated_all", "All mail waits", _WAITS, _WAITS),
    Mode(
        "gated_send",
        "Sent mail waits",
        _AT_ONCE,
        f"{_WAITS} Mail to recipients on a bypass list does not wait.",
    ),
    Mode(
        "monitored",
        "Monitored",
        _AT_ONCE,
        "Sent at once without review. The account's oversight address gets a copy.",
    ),
    Mode(
        "autonomous",
        "Autonomous",
        _AT_ONCE,
        "Sent at once without review, and nobody gets a copy.",
    ),
)
NAMES = tuple(mode.name for mode in MODES)
AUTONOMOUS = NAMES[-1]
_GATED = ("gated_all", "gated_send")


def mode_named(name: str) -> Mode | None:
    """Return the mode with this name, or None for a name that this version does not
    know.
    """
    return next((mode for mode in MODES if mode.name == name), None)


def mode_words(name: str) -> str:
    """Return our word for a mode with its name at MultiMail; that alone where this
    version does not know it.
    """
    found = mode_named(name)
    return f"{found.words} ({name})" if found else name


def is_looser(mode: str, *, than: str) -> bool:
    """Whether `mode` is looser. If one of them is unknown it counts as looser, unless
    `mode` is the strictest.
    """
    if mode not in NAMES or than not in NAMES:
        return mode not in (than, NAMES[0])
    return NAMES.index(mode) > NAMES.index(than)


def modes_within(minimum: str) -> list[str]:
    """Return the modes that are not looser than a minimum."""
    return [name for name in NAMES if not is_looser(name, than=minimum)]


def is_below(mode: str, *, per_call: bool, minimum: str) -> bool:
    """Whether a mailbox in this mode is below the organisation's minimum; empty: there
    is none.

    Where a call may loosen its own oversight, the mailbox is below each minimum but the
    loosest. A mode that was not read yet is not known to be below; one that this
    version does not know is.
    """
    if not minimum or not mode:
        return False
    return is_looser(mode, than=minimum) or (
        per_call and mode != NAMES[0] and minimum != AUTONOMOUS
    )


def is_minimum_lower(minimum: str, *, than: str) -> bool:
    """Whether an organisation's minimum allows more than another one; an empty one
    allows everything.
    """
    return bool(than) and is_looser(minimum or AUTONOMOUS, than=than)


def consequences(address: str, *, before: str, after: str) -> list[str]:
    """Return sentences about what changes when a mailbox gets the mode `after`."""
    found: list[str] = []
    if after not in _GATED and (
        before in (*_GATED, "read_only") or before not in NAMES
    ):
        found.append(f"Mail from {address} will be sent without review.")
        found.append(
            "This desk learns about it after it was sent: no risk rule or kill switch here can stop it."
        )
    if before == "read_only":
        found.append(f"Agents can send from {address}. Now they cannot.")
    if before == "gated_all":
        found.append("Received mail will reach the agent without review.")
    if after == "autonomous":
        found.append("Nobody gets a copy of sent mail.")
    return found
