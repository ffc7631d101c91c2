"""The base classes of channels: which fields the form of a destination has, how a
channel posts to it, and how a destination is tested.

`CardChannel` posts cards that people read, and edits them. `EventChannel` posts each
event once, for programs.
"""

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.core.exceptions import ValidationError

from alerts.cards.markup import Card, Markup
from alerts.channels.requests import (
    DestinationGone,
    Json,
    NotPosted,
    RetryLater,
    failure,
    is_allowed,
    redacted,
    secret_parts,
    send,
    split_address,
)
from alerts.models import Destination, Interaction
from common.exchange import Answer
from common.origins import origin_of
from common.postgres import clock
from outgoing.guarded import TooLate

# What is shown of a secret.
MASK = "••••"
TEST_EVENT = "desk.test"
TEST_CARD = Card(
    title="A test from Countersign",
    url="",
    description="Alerts can be posted here. No action is needed.",
    tone="blue",
    fields=(),
    footer="",
)


@dataclass(frozen=True)
class Posted:
    """A post that a destination accepted."""

    # The id by which the service can edit the post; empty if it gave none.
    message_id: str
    status: int
    # The answer for the log.
    answer: str = ""
    # For how many seconds the destination gets no other request.
    pause: float = 0.0


# Of what did not have to be sent any more.
OVER = Posted("", 0, "It was over before it was sent.")


@dataclass(frozen=True)
class Reply:
    """How an interaction ended, and the answer to it: a sentence or a form."""

    # A word, which is stored with the interaction.
    outcome: str
    content: str = ""
    # The custom id of the form that asks for a reason; empty for a sentence.
    form: str = ""


@dataclass(frozen=True)
class TestResult:
    """Whether a test was accepted, and a sentence for the person who sent it."""

    # It is no class of tests, whatever pytest concludes from its name.
    __test__ = False

    accepted: bool
    sentence: str


@dataclass(frozen=True)
class FormField:
    """A field of the form. A secret is stored encrypted, and never shown again."""

    # The column of Destination that stores it, such as url or channel.
    name: str
    label: str
    note: str
    # The error if it is left empty; empty if it may be.
    required: str = ""
    is_secret: bool = False
    max_length: int = 500
    too_long: str = "The address is too long for a webhook."
    # What it looks like, with a group for what is stored, and the error if it does not.
    # An address has `url_error` instead.
    pattern: re.Pattern[str] = re.compile("(.*)")
    invalid: str = ""


class Channel(ABC):
    """One kind of destination."""

    # Stored with each destination, so it must never change.
    kind: str
    label: str
    # What it posts and what it needs, for the form.
    summary: str
    # The subject of sentences such as "Discord did not answer in time."
    service: str
    fields: tuple[FormField, ...] = ()
    posts_cards = False
    # Whether it is a way to one person, which no admin sets.
    is_personal = False
    # The service in ChatAccount whose people it can mention and answer; empty for none.
    chat: str = ""
    # Whether the desk makes its secret, which nobody types.
    makes_secret: bool = False
    # A module with URL patterns of its own.
    urls: str = ""
    # By HTTP status: why a test was refused, and what to do about it.
    refusals: Mapping[int, str] = {}
    # What somebody whose test was accepted reads: where to look for it.
    when_accepted: str
    # Whether the service gives each post an id. Then an answer without an id is not
    # the service's.
    answers_with_id: bool = False
    # Its hosts, if it is a service with some, and which paths and queries its addresses
    # have there.
    hosts: Container[str] = ()
    path = re.compile("")
    query = re.compile("")
    # For an admin whose address is wrong: an example, where to find one, and what the
    # query may be.
    example = ""
    hint = ""
    except_query = ""
    # The statuses after which the destination is gone, and after which this body will
    # never be accepted.
    gone: Container[int] = ()
    refused: Container[int] = ()
    # In seconds, between two posts to one destination.
    pause = 0.0

    @property
    def not_ready(self) -> str:
        """What an operator has to set before this kind works, as a sentence; empty if
        it works.
        """
        return ""

    def clean_field(self, field: FormField, typed: str) -> str:
        """Return what was typed as it is stored. Raises ValidationError; its sentence
        does not repeat what was typed, which may be a secret.
        """
        if field.name == "url" and (error := self.url_error(typed)):
            raise ValidationError(error)
        found = field.pattern.fullmatch(typed)
        if found is None:
            raise ValidationError(field.invalid)
        return found[1]

    def missing(self, values: Mapping[str, str], *, is_new: bool) -> dict[str, str]:
        """Return errors by the names of fields that are empty, and needed beside these
        values.
        """
        return {}

    def url_error(self, url: str) -> str:
        """Return why this cannot be an address of this kind, and what to do, as a
        sentence that does not repeat the address, a secret; empty if it can.
        """
        hint = f" {self.hint}".rstrip()
        if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
            return f"The address contains a space or another invalid character.{hint}"
        parts = split_address(url)
        if parts is None:
            return f"This is not a complete address such as {self.example}.{hint}"
        if parts.username is not None or parts.fragment:
            return f"The address contains a user name or a #, which webhooks do not have.{hint}"
        # An operator allowed some origins, even if they are private or use plain http.
        is_exempt = is_allowed(url)
        if parts.scheme != "https" and not is_exempt:
            return f"The address must start with https://, so that nobody can read along.{hint}"
        if not self.hosts:
            return ""
        if parts.hostname not in self.hosts and not is_exempt:
            return f"This is not an address of {self.service}, such as {self.example}.{hint}"
        if origin_of(url) != f"https://{parts.hostname}:443" and not is_exempt:
            return f"{self.service}'s addresses have no port. Enter it without one."
        if not self.path.fullmatch(parts.path):
            return f"This is not a complete address such as {self.example}.{hint}"
        if not self.query.fullmatch(parts.query):
            return f"Remove everything after the question mark{self.except_query}."
        return ""

    def address(self, destination: Destination) -> str:
        """Return the destination's address to show: its host, and a mask for its path,
        which is a secret, because whoever knows it can post there.
        """
        parts = split_address(destination.url)
        return f"{parts.netloc.rpartition('@')[2]}/{MASK}" if parts else MASK

    def post_body(
        self, destination: Destination, body: bytes, *, headers: Mapping[str, str] = {}
    ) -> Posted:
        """Post this to the destination's address. Raises NotPosted."""
        url = destination.url
        if error := self.url_error(url):
            # It may have been accepted while OUTGOING_ALLOW still named its origin.
            raise DestinationGone(error)
        answer = send("POST", url, body, headers=headers, limit=destination.time_limit)
        logged = redacted(answer, secret_parts(url))
        if self.is_accepted(answer):
            return Posted(self.posted_id(answer), answer.status, logged, self.pause)
        raise self.failure(answer, logged)

    def is_accepted(self, answer: Answer) -> bool:
        """Whether the service accepted a post."""
        return 200 <= answer.status < 300

    def failure(self, answer: Answer, logged: str) -> Exception:
        """Return what to raise for an answer that accepts nothing."""
        return failure(
            self.service, answer, logged, gone=self.gone, refused=self.refused
        )

    def posted_id(self, answer: Answer) -> str:
        """Return the id that the service gave a post; empty if it gave none."""
        return ""

    def new_secret(self) -> str:
        """Return a secret for a new destination; empty if the desk makes none."""
        return ""

    @abstractmethod
    def post_test(self, destination: Destination) -> Posted:
        """Post a test that says it is one. Raises as every post does."""

    def test(self, destination: Destination, *, within: float) -> TestResult:
        """Post a test for a person who waits, and return how it ended, with a sentence
        that says what to do.
        """
        destination.time_limit = within
        try:
            posted = self.post_test(destination)
        except NotPosted as error:
            return TestResult(False, self._why_not(error))
        if self.answers_with_id and not posted.message_id:
            return TestResult(
                False,
                f"The answer did not come from {self.service}. Check the address.",
            )
        return TestResult(True, self.when_accepted)

    def _why_not(self, error: NotPosted) -> str:
        # Why a test was not accepted, and what to do, as a sentence.
        status = error.status
        if refusal := self.refusals.get(status or 0):
            return refusal
        if not isinstance(error, RetryLater):
            return str(error)
        if error.seconds is not None:
            seconds = max(1, math.ceil(error.seconds))
            return f"{self.service} asks to wait {seconds} s. The address works; test it then."
        if isinstance(error.__cause__, TooLate):
            return f"{self.service} did not answer in time. Test again."
        if status is None and not error.answer:
            return f"{self.service} could not be reached. Check the address, and that this server can reach it."
        if status and status < 400:
            return f"{self.service} redirects to another address ({status}). Enter that address instead."
        if status and status < 500:
            return f"{error} Check the address."
        # A problem of the service. Slack tells of some with status 200.
        return f"{error} Test again in a few minutes."


class CardChannel(Channel):
    """A kind of destination where people read cards. `post` and `edit` raise
    RetryLater, DestinationGone or CardRefused, and `edit` also CardGone or CardFixed.
    """

    posts_cards = True
    markup: Markup

    @abstractmethod
    def body(self, card: Card, destination: Destination) -> Json:
        """Return the request's body that shows this card there."""

    def post(self, destination: Destination, body: Json) -> Posted:
        """Post this body as a new post."""
        return self.post_body(destination, json.dumps(body).encode())

    def edit(self, destination: Destination, message_id: str, body: Json) -> Posted:
        """Edit a post in place, or post it anew where that cannot be. `message_id` is
        an id that `post` returned.
        """
        return self.post(destination, body)

    def post_test(self, destination: Destination) -> Posted:
        return self.post(destination, self.body(TEST_CARD, destination))


class ChatChannel(CardChannel):
    """A kind with cards whose service the desk knows people of: it mentions them, and
    answers what they press and type.
    """

    # Its commands that call MultiMail, by name: each carries one out, outside of a
    # transaction, and returns the answer, or raises RetryLater.
    commands: Mapping[str, Callable[[Interaction], Reply]] = {}

    @abstractmethod
    def mention_body(self, account: str, text: str, *, is_group: bool) -> Json:
        """Return the request's body that shows this text, and notifies exactly this
        account or group.
        """

    @abstractmethod
    def answer_body(self, interaction: Interaction, reply: Reply) -> Json:
        """Return an answer in the service's format."""

    @abstractmethod
    def send_answer(self, interaction: Interaction, body: Json) -> None:
        """Send an answer that was deferred. Raises Refused and RetryLater."""


class EventChannel(Channel):
    """A kind of destination that receives each event as one request, for programs.
    `post_event` raises RetryLater, DestinationGone or CardRefused.
    """

    def envelope(
        self, name: str, at: datetime, event_id: str, data: Mapping[str, Any]
    ) -> Json:
        """Return the body of an event, in the form that Standard Webhooks recommends."""
        return {"type": name, "timestamp": at.isoformat(), "data": data}

    def post_event(
        self, destination: Destination, body: bytes, *, event_id: str
    ) -> Posted:
        """Post one event. Every attempt has the same id and body, so that the receiver
        can drop a repeated one.
        """
        return self.post_body(destination, body)

    def post_test(self, destination: Destination) -> Posted:
        event_id = f"evt_{uuid4().hex}"
        data = {
            "event": TEST_EVENT,
            "text": "A test from Countersign. No action is needed.",
        }
        body = json.dumps(
            self.envelope(TEST_EVENT, clock(), event_id, data), ensure_ascii=False
        )
        return self.post_event(destination, body.encode(), event_id=event_id)


class NotInstalled(CardChannel, EventChannel):
    """Placeholder for a kind whose file was removed. It refuses every post, so the next
    delivery switches the destination off.
    """

    kind = ""
    label = "Not installed"
    not_ready = "This kind is not installed."
    markup = Markup()

    def _refuse(self, *_args: Any, **_options: Any) -> Any:
        raise DestinationGone(self.not_ready)

    body = post = edit = post_event = post_test = _refuse
