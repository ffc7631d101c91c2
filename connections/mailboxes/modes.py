"""What each oversight mode means, in words, and what changes from one to another. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """An oversight mode of MultiMail: its name, our name, and what happens to received and sent mail."""

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
    Mode("gated_send", "Sent mail waits", _AT_ONCE, f"{_WAITS} A bypass list may let recipients skip that."),
    Mode(
        "monitored",
        "Watched",
        _AT_ONCE,
        "Sent at once without review. The account's oversight address gets a copy.",
    ),
    Mode("autonomous", "On its own", _AT_ONCE, "Sent at once without review or copy."),
)
NAMES = tuple(mode.name for mode in MODES)
_GATED = ("gated_all", "gated_send")


def mode_named(name: str) -> Mode | None:
    """Return the mode with this name, or None for a name that this version does not know."""
    return next((mode for mode in MODES if mode.name == name), None)


def is_looser(mode: str, *, than: str) -> bool:
    """Whether `mode` is looser. If one of them is unknown it counts as looser, unless `mode` is the strictest."""
    if mode not in NAMES or than not in NAMES:
        return mode not in (than, NAMES[0])
    return NAMES.index(mode) > NAMES.index(than)


def consequences(address: str, *, before: str, after: str) -> list[str]:
    """Return sentences about what changes when a mailbox gets the mode `after`."""
    found: list[str] = []
    if after not in _GATED and (before in (*_GATED, "read_only") or before not in NAMES):
        found.append(f"Messages from {address} will be sent without review.")
        found.append("This desk learns of them only after they are sent, so no rule or kill switch here can stop them.")
    if before == "read_only":
        found.append(f"Agents will be able to send from {address}.")
    if before == "gated_all":
        found.append("Received messages will reach the agent without review.")
    if after == "autonomous":
        found.append("Nobody gets a copy of sent messages.")
    return found
