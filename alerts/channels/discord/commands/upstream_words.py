"""What MultiMail's refusals mean to somebody on Discord: a pure function of the error."""

import re
from dataclasses import dataclass

from alerts.channels.discord.markdown import cut, escape
from upstream import errors

_SAID = 400
# The status says nothing to people, and the words before it say more.
_ANSWERED = re.compile(r"^MultiMail answered [0-9]+[:.] ?")
_WORDS: dict[type[errors.UpstreamError], tuple[str, str]] = {
    errors.KeyRefused: ("key refused", "MultiMail does not accept the desk's agent key. Ask an admin to put in one."),
    errors.Forbidden: ("forbidden", "MultiMail does not allow this."),
    errors.NotFound: ("not found", "MultiMail does not know it, or the mailbox does not have it."),
    errors.Conflict: ("conflict", "MultiMail did not take it: it stands against what is there."),
    errors.Rejected: ("not accepted", "MultiMail does not accept it as it is."),
}


@dataclass(frozen=True)
class Said:
    """What to tell; `is_final` where trying again cannot help, `may_have_left` where it may have taken effect."""

    sentence: str
    why: str
    is_final: bool = False
    may_have_left: bool = False
    seconds: float | None = None


def in_words(error: errors.UpstreamError) -> Said:
    """Return what an error means. MultiMail's own words stand behind ours, as text."""
    for kind, (why, words) in _WORDS.items():
        if isinstance(error, kind):
            own = _ANSWERED.sub("", error.sentence)
            own = "" if kind is errors.KeyRefused or not own else f" {cut(escape(own), _SAID)}"
            return Said(f"{words}{own}", why, is_final=True)
    if isinstance(error, errors.Throttled):
        return Said("MultiMail asks to wait.", "throttled", seconds=error.retry_after)
    if isinstance(error, errors.NotSent):
        return Said("MultiMail cannot be reached at the moment.", "not reached")
    return Said("MultiMail did not answer as it should.", "no answer", may_have_left=True)
