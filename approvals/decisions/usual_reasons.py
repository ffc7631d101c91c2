"""The usual reasons for rejecting and sending back: a short name for the reviewer, and whole words for the writer.

Pure. The writer gets the words, so each says what was wrong and, where it can, what to do about it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """One usual reason. `name` is what a form sends, `label` what stands beside its number, `words` what is sent."""

    name: str
    label: str
    words: str


REJECT = (
    Preset("recipient", "Wrong recipient", "This must not go to this recipient."),
    Preset("untrue", "Inaccurate or unverified", "It says something that is not true, or that nobody has confirmed."),
    Preset("promise", "Promises too much", "It promises something that nobody here has agreed to."),
    Preset("private", "Confidential information", "It gives away what must stay inside."),
    Preset("misled", "The agent was misled", "It follows instructions from somebody who may not give any."),
    Preset("double", "Already answered", "This was already answered."),
    Preset("late", "No longer needed", "It is not needed any more."),
    Preset("person", "A person will answer", "A person will answer this. Do not write again."),
)
SEND_BACK = (
    Preset("facts", "Check the facts", "Check names, dates and sums against the thread."),
    Preset("tone", "Another tone", "Say the same more kindly and more plainly."),
    Preset("shorter", "Shorter", "Say it in half as many words."),
    Preset("question", "Answer the question", "Answer what was asked, first of all."),
    Preset("number", "Name the order", "Name the order, invoice or ticket that this is about."),
    Preset("copies", "Fewer recipients", "Leave out the recipients who do not need this."),
    Preset("leave_out", "Leave out what is inside", "Leave out what must stay inside."),
)
PRESETS = {"reject": REJECT, "send_back": SEND_BACK}


def with_preset(outcome: str, name: str, text: str) -> str:
    """Return the reason as it is sent: the preset's words, then what was written besides."""
    words = next((one.words for one in PRESETS.get(outcome, ()) if one.name == name), "")
    return "\n".join(part for part in (words, text) if part)
