"""Commands for what agents note on messages: tags, which are names with a value, and
whether received mail is spam.

A spam report moves the message to quarantine; not-spam moves it back.
"""

from django.db import transaction

from gateway import auditing
from gateway.errors import Conflict, Invalid
from gateway.models import ApiKey, Email
from gateway.states import Change, Direction, allows
from gateway.text import check_header_text

# Tags of a message, and characters of a tag's name and of its value.
MAX_TAGS = 64
MAX_NAME = 100
MAX_VALUE = 1000


def parse_tags(value: object) -> dict[str, str]:
    """Return tags by name, from an object, a list of words, or a text with commas. The
    value of a mere word is "true". Raises ValueError.
    """
    if isinstance(value, str):
        value = [word for word in value.split(",") if word.strip()]
    if isinstance(value, list):
        value = {_word(item): "true" for item in value}
    if not isinstance(value, dict):
        raise ValueError(
            'must be an object such as {"priority": "high"}, or a list of words.'
        )
    if len(value) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags.")
    tags = {}
    for name, tag_value in value.items():
        if isinstance(tag_value, bool):
            text = "true" if tag_value else "false"
        elif isinstance(tag_value, str | int | float):
            text = str(tag_value)
        else:
            raise ValueError(f"the value of {name!a} must be text.")
        if isinstance(tag_value, str) and len(text) > MAX_VALUE:
            raise ValueError(
                f"the value of {name!a} has more than {MAX_VALUE} characters."
            )
        tags[_word(name)] = text
    return tags


@transaction.atomic
def add_tags(key: ApiKey, email: Email, tags: dict[str, str]) -> dict[str, str]:
    """Merge `tags` into the tags of the message, and return all its tags. Raises
    Invalid if they become too many.
    """
    stored = _locked(email)
    merged = stored | tags
    if len(merged) > MAX_TAGS:
        raise Invalid(
            f"tags: a message has at most {MAX_TAGS} tags; this would make {len(merged)}."
        )
    if merged != stored:
        Email.objects.filter(pk=email.pk).update(tags=merged)
        auditing.record("email.tagged", email, key, tags=len(tags))
    return merged


@transaction.atomic
def drop_tag(key: ApiKey, email: Email, name: str) -> bool:
    """Remove one tag. Returns False if there is none of that name."""
    stored = _locked(email)
    if name not in stored:
        return False
    del stored[name]
    Email.objects.filter(pk=email.pk).update(tags=stored)
    auditing.record("email.untagged", email, key)
    return True


def _locked(email: Email) -> dict[str, str]:
    """Return the tags as they are now. The row is locked, so that two requests that add
    tags at once both keep theirs.
    """
    return dict(
        Email.objects.select_for_update()
        .values_list("tags", flat=True)
        .get(pk=email.pk)
    )


def _word(name: object) -> str:
    # Returns the name of a tag, checked. Raises ValueError.
    if not isinstance(name, str) or not name.strip():
        raise ValueError("each tag must be a word.")
    if len(name.strip()) > MAX_NAME:
        raise ValueError(f"the name of a tag has at most {MAX_NAME} characters.")
    return check_header_text(name.strip())


SPAM = "spam"
NOT_SPAM = "not_spam"
# What each label does, and the states in which a message already is where that would
# move it.
_LABELS = {
    SPAM: (Change.REPORT_SPAM, ("spam_quarantined",)),
    NOT_SPAM: (Change.NOT_SPAM, ("unread", "read", "archived")),
}


def label(key: ApiKey, email: Email, user_label: str) -> Email:
    """Mark a received message as spam or not, and move it; twice is no error. Raises
    Conflict.
    """
    if email.direction != Direction.INBOUND:
        raise Conflict(
            "Only received messages can be marked as spam.", code="not_received"
        )
    with transaction.atomic():
        change, already_there = _LABELS[user_label]
        if allows(email.status, change):
            moved = Email.objects.move(email, change, user_label=user_label)
        else:
            rows = Email.objects.filter(pk=email.pk, status__in=already_there)
            moved = bool(rows.update(user_label=user_label))
        if not moved:
            raise Conflict(
                f"This message cannot be marked as {user_label}: it is {email.status}.",
                code="not_possible",
            )
        email.user_label = user_label
        auditing.record(f"email.{user_label}", email, key)
    return email
