"""Tags: what an agent remembers about a message, as words with a value. They merge; nothing is lost by adding."""

from django.db import transaction

from gateway import auditing
from gateway.errors import Invalid
from gateway.header_text import check_header_text
from gateway.models import ApiKey, Email

MAX_TAGS = 64
MAX_NAME = 100
MAX_VALUE = 1000


def read_tags(value: object) -> dict[str, str]:
    """Return tags out of an object, or out of words, each of which is then true. Raises ValueError."""
    if isinstance(value, str):
        value = [word for word in value.split(",") if word.strip()]
    if isinstance(value, list):
        value = {_word(item): "true" for item in value}
    if not isinstance(value, dict):
        raise ValueError('must be an object such as {"priority": "high"}, or a list of words.')
    if len(value) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags.")
    return {_word(name): _text(name, one) for name, one in value.items()}


def add_tags(*, key: ApiKey, email: Email, tags: dict[str, str]) -> dict[str, str]:
    """Merge `tags` into those of the message, and return them all. Raises Invalid when they become too many."""
    with transaction.atomic():
        held = _locked(email)
        merged = held | tags
        if len(merged) > MAX_TAGS:
            raise Invalid(f"tags: a message has at most {MAX_TAGS} tags; this would make {len(merged)}.", field="tags")
        if merged != held:
            Email.objects.filter(pk=email.pk).update(tags=merged)
            auditing.note("email.tagged", email=email, key=key, tags=len(tags))
    return merged


def drop_tag(*, key: ApiKey, email: Email, name: str) -> bool:
    """Take one tag away; False when there was none of that name."""
    with transaction.atomic():
        held = _locked(email)
        if name not in held:
            return False
        del held[name]
        Email.objects.filter(pk=email.pk).update(tags=held)
        auditing.note("email.untagged", email=email, key=key)
    return True


def _locked(email: Email) -> dict[str, str]:
    """Return the tags as they are now. The row is locked, so that two who add at once both keep theirs."""
    return dict(Email.objects.select_for_update().values_list("tags", flat=True).get(pk=email.pk))


def _word(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ValueError("each tag must be a word.")
    if len(name.strip()) > MAX_NAME:
        raise ValueError(f"the name of a tag has at most {MAX_NAME} characters.")
    return check_header_text(name.strip())


def _text(name: object, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"the value of {name!a} must be text.")
    if len(value) > MAX_VALUE:
        raise ValueError(f"the value of {name!a} has more than {MAX_VALUE} characters.")
    return value
