"""What agents note on messages: tags, which are words with a value and merge, and
whether received mail is spam.

A spam report moves the message to quarantine; not-spam moves it back.
"""

from django.db import transaction

from gateway import auditing
from gateway.errors import Conflict, Invalid
from gateway.models import ApiKey, Email
from gateway.states import Change, Direction, allows
from gateway.text import check_header_text

MAX_TAGS = 64
MAX_NAME = 100
MAX_VALUE = 1000


def parse_tags(value: object) -> dict[str, str]:
    """Return tags from an object, or from words, whose value is then "true". Raises
    ValueError.
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
    for name, one in value.items():
        if isinstance(one, bool):
            text = "true" if one else "false"
        elif isinstance(one, str | int | float):
            text = str(one)
        else:
            raise ValueError(f"the value of {name!a} must be text.")
        if isinstance(one, str) and len(text) > MAX_VALUE:
            raise ValueError(
                f"the value of {name!a} has more than {MAX_VALUE} characters."
            )
        tags[_word(name)] = text
    return tags


@transaction.atomic
def add_tags(key: ApiKey, email: Email, tags: dict[str, str]) -> dict[str, str]:
    """Merge `tags` into those of the message, and return them all. Raises Invalid when
    they become too many.
    """
    held = _locked(email)
    merged = held | tags
    if len(merged) > MAX_TAGS:
        raise Invalid(
            f"tags: a message has at most {MAX_TAGS} tags; this would make {len(merged)}."
        )
    if merged != held:
        Email.objects.filter(pk=email.pk).update(tags=merged)
        auditing.record("email.tagged", email, key, tags=len(tags))
    return merged


@transaction.atomic
def drop_tag(key: ApiKey, email: Email, name: str) -> bool:
    """Remove one tag; False when there was none of that name."""
    held = _locked(email)
    if name not in held:
        return False
    del held[name]
    Email.objects.filter(pk=email.pk).update(tags=held)
    auditing.record("email.untagged", email, key)
    return True


def _locked(email: Email) -> dict[str, str]:
    """Return the tags as they are now. The row is locked, so that two who add at once
    both keep theirs.
    """
    return dict(
        Email.objects.select_for_update()
        .values_list("tags", flat=True)
        .get(pk=email.pk)
    )


def _word(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ValueError("each tag must be a word.")
    if len(name.strip()) > MAX_NAME:
        raise ValueError(f"the name of a tag has at most {MAX_NAME} characters.")
    return check_header_text(name.strip())


SPAM = "spam"
NOT_SPAM = "not_spam"
_CHANGES = {SPAM: Change.REPORT_SPAM, NOT_SPAM: Change.NOT_SPAM}


def label(key: ApiKey, email: Email, user_label: str) -> Email:
    """Label a message as spam or not, and move it; twice is no error. Raises Conflict."""
    if email.direction != Direction.INBOUND:
        raise Conflict(
            "Only received messages can be marked as spam.", code="not_received"
        )
    with transaction.atomic():
        change = _CHANGES[user_label]
        if allows(email.status, change):
            moved = Email.objects.filter(pk=email.pk).move(
                email, change, user_label=user_label
            )
        else:
            at_home = Email.objects.filter(pk=email.pk, status__in=_AT_HOME[user_label])
            moved = bool(at_home.update(user_label=user_label))
        if not moved:
            raise Conflict(
                f"This message cannot be marked as {user_label}: it is {email.status}.",
                code="not_possible",
            )
        email.user_label = user_label
        auditing.record(f"email.{user_label}", email, key)
    return email


# States in which a message already is as the label says.
_AT_HOME = {SPAM: ("spam_quarantined",), NOT_SPAM: ("unread", "read", "archived")}
