"""One finding of what is stuck, and the one safe thing to do about it."""

from dataclasses import dataclass
from datetime import datetime

from approvals.models import Message, WebhookEvent


@dataclass(frozen=True)
class Act:
    """The one safe thing to do: a button that posts, or a link to where a person reads before deciding."""

    label: str
    url: str
    posts: bool = False


@dataclass(frozen=True)
class Stuck:
    """One finding. `advice` says what to do as a sentence; `act` is None for those who may not do it."""

    kind: str
    what: str
    since: datetime
    why: str
    advice: str
    act: Act | None = None
    message: Message | None = None
    event: WebhookEvent | None = None
    # How many things one sentence tells of, and who may act where the actor may not.
    number: int = 1
    whose: str = "a reviewer or an admin"
