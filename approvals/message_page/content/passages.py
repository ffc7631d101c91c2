"""The words of the message that a request for changes quotes: whether the version that was read has them."""

from approvals.decisions.forms import MAX_REASON, PassageForm
from approvals.errors import PassageNotFound
from approvals.message_page.content.rendered import rendered_message_of
from common.references import without_references
from mirror.models import Message
from mirror.store import stored_content
from rendering.passages import MAX_PASSAGE, passage_in, with_passage

NOT_FOUND = (
    "The quoted words are not together in this version of the message. Copy them from it in one piece, or leave the "
    "passage empty."
)


def passage_of(message: Message, form: PassageForm) -> str:
    """Return the words of a valid form as the version that was shown has them; empty where there are none.

    Raises PassageNotFound where that version does not have them in one piece, or the message has no such version.
    """
    words = form.cleaned_data["passage"]
    fingerprint = form.cleaned_data["fingerprint"]
    if not words:
        return ""
    shown = message.revision
    if shown is None or shown.fingerprint != fingerprint:
        shown = message.revisions.filter(fingerprint=fingerprint).first()
    if shown is None:
        raise PassageNotFound(NOT_FOUND)
    content = stored_content(shown)
    rendered = rendered_message_of(shown, content)
    passage = passage_in((rendered.text, rendered.read, rendered.plain, content.subject), words)
    if not passage:
        raise PassageNotFound(NOT_FOUND)
    if len(passage) > MAX_PASSAGE:
        raise PassageNotFound(f"Quote {MAX_PASSAGE} characters at most.")
    return passage


def reason_quoting(message: Message, reason: str, form: PassageForm) -> str:
    """Return a reason behind the quoted words, as the agent gets it. Raises PassageNotFound as `passage_of`."""
    # A message may hold what looks like the reference of a decision.
    whole = with_passage(without_references(passage_of(message, form)), reason)
    if len(whole) > MAX_REASON:
        raise PassageNotFound(f"Keep the passage and the reason under {MAX_REASON} characters together.")
    return whole
