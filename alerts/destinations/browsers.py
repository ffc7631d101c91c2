"""The commands by which people switch notifications of their browsers on and off. Each
browser is a destination of theirs.
"""

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from alerts.channels.web_push import WebPush
from alerts.models import Destination
from audit.recording import record
from common.actors import Actor

# How many browsers one person switches on.
MAX_BROWSERS = 10


def browsers_of(actor: Actor) -> QuerySet[Destination]:
    """Return the browsers that a person has switched on, in the order of that."""
    own = Destination.objects.filter(owner=actor.person_id, kind=WebPush.kind)
    return own.filter(switched_off_at=None).order_by("pk")


@transaction.atomic
def add_browser(*, name: str, url: str, keys: str, actor: Actor) -> None:
    """Switch notifications of a browser on. `url` is its address at the push service."""
    own = list(browsers_of(actor))
    # The same browser again, also where somebody else used it, and the oldest of too
    # many.
    switched_on = Destination.objects.filter(kind=WebPush.kind, switched_off_at=None)
    replaced = [one for one in switched_on if one.url == url]
    for one in [*replaced, *own[: len(own) + 1 - MAX_BROWSERS]]:
        _switch_off(one)
    Destination.objects.create(
        owner_id=actor.person_id,
        kind=WebPush.kind,
        name=name[:80],
        url=url,
        secret=keys,
    )
    details = {"before": "", "after": name}
    record("person.browser_added", actor=actor, details=details)


@transaction.atomic
def remove_browser(browser: Destination, *, actor: Actor) -> None:
    """Switch notifications of a person's own browser off."""
    _switch_off(browser)
    details = {"before": browser.name, "after": ""}
    record("person.browser_removed", actor=actor, details=details)


def _switch_off(browser: Destination) -> None:
    """Forget the address and the keys of a browser; what was sent to it stays known."""
    Destination.objects.filter(pk=browser.pk).update(
        switched_off_at=Now(), url="", secret=""
    )
