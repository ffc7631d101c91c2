"""What a kind of destination is: its fields in the form, how it posts, what can come of
it, and how it is tested.

`CardChannel` posts cards that people read; `EventChannel` posts each event by itself,
for programs.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.core.exceptions import ValidationError

from alerts.cards.markup import Card, Markup
from alerts.models import Destination
from common.postgres import clock
from common.sweeps import Duty
from outgoing.guarded import TOTAL_TIMEOUT

TEST_EVENT = "desk.test"
TEST_CARD = Card(
    title="A test from Countersign",
    url="",
    description="Alerts can be posted here. No action is needed.",
    tone="blue",
    fields=(),
    footer="",
)


class NotPosted(Exception):
    """It was not accepted; `status` and `answer` are what the other side answered, if
    anything.
    """

    def __init__(
        self, sentence: str, *, status: int | None = None, answer: str = ""
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.answer = answer


class Refused(NotPosted):
    """The other side refused, and the same request would be refused again."""


class DestinationGone(Refused):
    """The destination does not exist any more, or takes nothing from us: it is switched
    off.
    """


class CardGone(Refused):
    """Somebody deleted the card."""


class CardRefused(Refused):
    """This body is not accepted."""


class RetryLater(NotPosted):
    """Not now. `seconds` is how long everything for this destination waits, where the
    destination or our own count of its limit says so. Without it something failed.

    With `whole_service` every destination of the same service waits.
    """

    def __init__(
        self,
        sentence: str,
        *,
        seconds: float | None = None,
        whole_service: bool = False,
        **answered: Any,
    ) -> None:
        super().__init__(sentence, **answered)
        self.seconds = seconds
        self.whole_service = whole_service


@dataclass(frozen=True)
class Posted:
    """What a destination accepted: the id by which the post can be edited, if it has
    one, and the answer for the log.

    `pause` is how long the destination is left alone now; `channel` the id of the
    channel that has the post.
    """

    message_id: str
    status: int
    answer: str = ""
    pause: float = 0.0
    channel: str = ""


@dataclass(frozen=True)
class TestResult:
    """Whether a test was accepted, and a sentence for whoever sent it."""

    __test__ = False

    accepted: bool
    sentence: str
    channel: str = ""


@dataclass(frozen=True)
class FormField:
    """A field of the form, stored in the column of Destination that it names: url,
    channel or secret.

    Secrets are encrypted, and never shown again. `required` is what is said where it is
    empty.
    """

    name: str
    label: str
    note: str
    required: str = ""
    is_secret: bool = False
    max_length: int = 500
    too_long: str = "The address is too long for a webhook."


class Channel(ABC):
    """One kind of destination. `kind` is stored with each destination, and never
    changes.
    """

    kind: str
    label: str
    # What it posts and what it needs, for the form.
    summary: str
    # Who answers, in sentences: "Discord did not answer in time."
    service: str
    fields: tuple[FormField, ...]
    posts_cards: bool
    # How many deliveries may be under way at the same time.
    parallel: int = 1
    # Whether it can answer where a command began, keep the ledger's heads, and whether
    # the desk makes its secret.
    answers_commands: bool = False
    keeps_heads: bool = False
    makes_secret: bool = False
    # Its hosts, so that a signed webhook is not sent there by mistake.
    hosts: tuple[str, ...] = ()
    # A module with URL patterns of its own.
    urls: str = ""
    # What each refused status means for whoever sends a test, and what to do about it.
    refusals: Mapping[int, str] = {}
    # Where to look for a test that was accepted. Where every answer has an id, one
    # without is not the service's.
    when_accepted: str
    answers_with_id: bool = False
    redirected = "{service} redirects to another address ({status}), which is not followed. Enter that address instead."
    when_late = "Check that it is running, then test again."
    when_unreachable = (
        "Check the address and that this server can reach it, then test again."
    )

    @property
    def not_ready(self) -> str:
        """What an operator has to set before this kind works, in words; empty where it
        works.
        """
        return ""

    def clean(self, typed: Mapping[str, str], *, is_new: bool) -> dict[str, str]:
        """Return the fields' values as they are stored, empty for a secret that stays.
        Raises ValidationError.
        """
        values = {}
        errors = {}
        for field in self.fields:
            value = typed.get(field.name, "").strip()
            try:
                if value:
                    values[field.name] = self.clean_field(field.name, value)
                elif field.required and (is_new or not field.is_secret):
                    raise ValidationError(field.required)
            except ValidationError as error:
                errors[field.name] = error.messages
        if errors:
            raise ValidationError(errors)
        return values

    def url_error(self, url: str) -> str:
        """Return in words why an address cannot be one of this kind, and what to do;
        empty where it can.
        """
        return ""

    def clean_field(self, name: str, value: str) -> str:
        """Return one value as it is stored. Raises ValidationError with a sentence that
        does not repeat it.
        """
        if error := self.url_error(value):
            raise ValidationError(error)
        return value

    @abstractmethod
    def address(self, destination: Destination) -> str:
        """Return the address without its secret part."""

    def command_channel(self, typed: str) -> str:
        """Return a channel in which commands begin as it is stored, where the kind can
        answer there.
        """
        return typed.strip()

    def new_secret(self) -> str:
        """Return a secret for a new destination, where the desk makes one."""
        return ""

    def duties(self) -> Mapping[str, Duty]:
        """Return what finds work of this kind for which no task was sent; asked every
        few seconds.
        """
        return {}

    @abstractmethod
    def post_test(self, destination: Destination, *, limit: float) -> Posted:
        """Post what says that it is a test. Raises as every post does."""

    def test(self, destination: Destination, *, within: float) -> TestResult:
        """Post a test for somebody who waits for it, and say in words what came of it
        and what to do.
        """
        try:
            posted = self.post_test(destination, limit=within)
        except NotPosted as error:
            return TestResult(False, self._why_not(error))
        if self.answers_with_id and not posted.message_id:
            sentence = (
                f"The answer did not come from {self.service}. Check the address."
            )
            return TestResult(False, sentence)
        return TestResult(True, self.when_accepted, posted.channel)

    def _why_not(self, error: NotPosted) -> str:
        status = error.status
        if refusal := self.refusals.get(status or 0):
            return refusal
        if not isinstance(error, RetryLater):
            return str(error)
        if error.seconds is not None:
            seconds = max(1, math.ceil(error.seconds))
            plural = "" if seconds == 1 else "s"
            return f"{self.service} asks to wait {seconds} second{plural}. The address works; test it then."
        if status is None and error.answer:
            return f"{error} Test again in a few minutes."
        if status is None:
            if "within" in str(error) or "Timeout" in str(error):
                return f"{self.service} did not answer in time. {self.when_late}"
            return f"{self.service} could not be reached. {self.when_unreachable}"
        if status < 400:
            return self.redirected.format(service=self.service, status=status)
        if status >= 500:
            return f"{self.service} answered {status}: it has a problem. Test again in a few minutes."
        return f"{self.service} answered {status}. Check the address."


class CardChannel(Channel):
    """A kind where people read cards. `post` and `edit` raise RetryLater,
    DestinationGone, CardRefused or CardGone.
    """

    posts_cards = True
    markup: Markup
    redirected = "The answer ({status}) did not come from {service}. Check the address."

    @abstractmethod
    def body(self, card: Card) -> dict[str, Any]:
        """Return what is posted to show this card."""

    @abstractmethod
    def shorten(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a minimal body that is certainly accepted, to replace a body that was
        refused.
        """

    def lines_body(self, lines: tuple[str, ...]) -> dict[str, Any]:
        """Return what is posted to show these lines, the first in bold, where the kind
        keeps heads of the ledger.
        """
        raise NotImplementedError

    @abstractmethod
    def post(
        self,
        destination: Destination,
        body: dict[str, Any],
        *,
        limit: float = TOTAL_TIMEOUT,
    ) -> Posted:
        """Post it."""

    @abstractmethod
    def edit(
        self, destination: Destination, message_id: str, body: dict[str, Any]
    ) -> Posted:
        """Edit what was posted, in place. Called only with an id that `post` returned."""

    def post_test(self, destination: Destination, *, limit: float) -> Posted:
        return self.post(destination, self.body(TEST_CARD), limit=limit)


class EventChannel(Channel):
    """A kind that receives each event by itself. `post_event` raises RetryLater,
    DestinationGone or CardRefused.
    """

    posts_cards = False
    parallel = 3

    def envelope(
        self, name: str, at: datetime, event_id: str, data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the body of an event, as Standard Webhooks recommends it."""
        return {"type": name, "timestamp": at.isoformat(), "data": data}

    @abstractmethod
    def post_event(
        self, destination: Destination, body: bytes, *, event_id: str, limit: float
    ) -> Posted:
        """Post one event; every attempt has the same id and body."""

    def post_test(self, destination: Destination, *, limit: float) -> Posted:
        event_id = f"evt_{uuid4().hex}"
        data = {
            "event": TEST_EVENT,
            "text": "A test from Countersign. No action is needed.",
        }
        body = json.dumps(
            self.envelope(TEST_EVENT, clock(), event_id, data), ensure_ascii=False
        )
        return self.post_event(
            destination, body.encode(), event_id=event_id, limit=limit
        )


class NotInstalled(CardChannel, EventChannel):
    """Placeholder for a kind whose file was removed. The next due delivery switches
    the destination off.
    """

    kind = ""
    label = "Not installed"
    not_ready = "This kind is not installed."
    fields = ()
    markup = Markup()

    def address(self, destination: Destination) -> str:
        return ""

    def _refuse(self, *_args: Any, **_options: Any) -> Any:
        raise DestinationGone(self.not_ready)

    clean_field = body = shorten = lines_body = post = edit = post_event = post_test = (
        _refuse
    )
