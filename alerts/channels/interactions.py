"""Interactions with chat services: what somebody pressed, filled in or gave as a
command. Reads, stores and answers one, at once or later by a worker.

A deferred answer is stored before it is sent. If the worker dies in between, the next
one only sends the stored answer, and decides nothing.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, StringConstraints
from pydantic import Field as ModelField

from alerts.channels import all_channels
from alerts.channels.answers import REASON, after_error
from alerts.channels.base import ChatChannel, Reply
from alerts.channels.presses import judge
from alerts.channels.requests import Refused, RetryLater
from alerts.channels.signed_requests import RequestRefused
from alerts.models import Interaction
from alerts.tasks import answer_interaction as task
from common.logs import trace_id, traced
from common.postgres import AWAY, retry_transaction
from common.sweeps import Duty, duty

log = logging.getLogger(__name__)

TOO_LATE = "too late"
# Discord accepts answers for 15 minutes, and Slack for 30; the last attempt must end
# before that.
_ANSWERABLE = timedelta(minutes=14)
# In seconds: the longest wait between two attempts.
_MAX_PAUSE = 60.0
# How long answers stay stored. A request is refused five minutes after it was signed,
# so nobody can ask for an older answer again.
_ANSWERS_STORED = timedelta(minutes=20)
# PostgreSQL cannot store a NUL.
_PATTERN = r"^[^\x00]*$"
Name = Annotated[str, StringConstraints(max_length=100, pattern=_PATTERN)]
Text = Annotated[
    str, StringConstraints(max_length=6000, pattern=_PATTERN, strip_whitespace=True)
]
_COLUMNS = """
service kind name external_id user_id user_name channel_id channel_name server_id token
""".split()


def at(*paths: str, default: Any = ...) -> Any:
    """Return a field of `Received` that stands at the first of these paths, such as
    "member.user.id", that is there.
    """
    keys = [[int(k) if k.isdigit() else k for k in one.split(".")] for one in paths]
    aliases = [AliasPath(*one) for one in keys]  # type: ignore[arg-type]
    return ModelField(default, validation_alias=AliasChoices(*aliases))


class Received(BaseModel):
    """What a service sent. Subclasses say where the columns of Interaction stand in it,
    and what was pressed (`custom_id`), under which card, and typed (`reason`, or the
    options of a command).
    """

    model_config = ConfigDict(strict=True)
    typed: dict[str, Text] = {}

    def columns(self) -> dict[str, str]:
        """Return the columns of the interaction's row."""
        columns = {name: getattr(self, name, None) or "" for name in _COLUMNS}
        names = ("custom_id", "card", REASON)
        options = {name: getattr(self, name) or "" for name in names}
        return columns | {"options": json.dumps(self.typed | options)}


@contextmanager
def reading() -> Iterator[None]:
    """A block that reads a signed body. Raises RequestRefused if that is not possible."""
    try:
        yield
    except (ValueError, LookupError, TypeError, RecursionError):
        sentence = "This is signed, but it is no interaction that the desk knows."
        raise RequestRefused(400, sentence) from None


def store(columns: dict[str, str]) -> tuple[Interaction, bool]:
    """Store an interaction, once however often it is sent, and return it and whether it
    is new.
    """
    stored: tuple[Interaction, bool] = Interaction.objects.get_or_create(
        service=columns["service"],
        external_id=columns["external_id"],
        defaults={**columns, "trace": trace_id.get()},
    )
    return stored


def carry_out(interaction: Interaction) -> None:
    """Decide, claim or list in the caller's transaction, and store the answer. A
    command that calls MultiMail stays without one.
    """
    channel = _channel_of(interaction)
    reply = judge(interaction, channel.markup, channel.commands)
    if reply is None:
        interaction.outcome = "given"
        interaction.save(update_fields=["outcome"])
    else:
        _store_answer(interaction, reply)


def _channel_of(interaction: Interaction) -> ChatChannel:
    for channel in all_channels().values():
        if isinstance(channel, ChatChannel) and channel.chat == interaction.service:
            return channel
    raise LookupError(interaction.service)


def _store_answer(interaction: Interaction, reply: Reply) -> None:
    """Store how an interaction ended. What was typed is deleted."""
    interaction.outcome = reply.outcome
    body = _channel_of(interaction).answer_body(interaction, reply)
    interaction.answer = json.dumps(body)
    interaction.options = ""
    interaction.save(update_fields=["outcome", "options", "answer", "person"])


def answer_interaction(interaction_id: int) -> str:
    """Carry out a deferred interaction, unless that was done, and send the answer, if
    it is due. Return a word for the log, such as "postponed".
    """
    interaction = Interaction.objects.claim(interaction_id)
    if interaction is None:
        return "not due"
    with traced(interaction.trace):
        row = Interaction.objects.filter(pk=interaction.pk)
        if not row.filter(created_at__gt=Now() - _ANSWERABLE).exists():
            return _close(interaction, TOO_LATE, error=TOO_LATE)
        try:
            if not interaction.answer:
                retry_transaction(lambda: _carry_out_once(interaction))
            if not interaction.answer:
                command = _channel_of(interaction).commands[interaction.name]
                _store_answer(interaction, command(interaction))
            body = json.loads(interaction.answer)
            _channel_of(interaction).send_answer(interaction, body)
        except RetryLater as later:
            usual = min(2.0**interaction.attempts, _MAX_PAUSE)
            seconds = usual if later.seconds is None else later.seconds
            interaction.postponed(seconds=seconds, error=str(later))
            return "postponed"
        except Refused as error:
            return _close(interaction, "not answered", error=str(error))
        return _close(interaction, interaction.outcome)


@transaction.atomic
def _carry_out_once(interaction: Interaction) -> None:
    # A second worker that claims the interaction waits here, and then finds the answer.
    locked = Interaction.objects.select_for_update().get(pk=interaction.pk)
    # With an outcome alone it is a command that ran before, and may have been answered
    # by MultiMail: it goes on from there.
    if not (locked.answer or locked.outcome):
        try:
            with transaction.atomic():
                carry_out(locked)
        except AWAY:
            raise
        except Exception:
            # Another try would fail in the same way, and a person is waiting.
            what = {"interaction": locked.external_id}
            log.exception("interaction not carried out", extra=what)
            _store_answer(locked, Reply("fault", after_error()))
    interaction.outcome = locked.outcome
    interaction.answer = locked.answer


@transaction.atomic
def _close(interaction: Interaction, outcome: str, *, error: str = "") -> str:
    """End the interaction and delete its token, options and answer, unless another
    worker has claimed it since. `error` says why it stays unanswered.
    """
    ended = (
        interaction.failed(error=error) if error else interaction.delivered(status=200)
    )
    if not ended:
        return "taken over"
    row = Interaction.objects.filter(pk=interaction.pk)
    row.update(token="", options="", answer="")
    if error:
        what = {"interaction": interaction.external_id, "what": interaction.name}
        log.warning("interaction not answered", extra={**what, "reason": error})
    return outcome


def duties() -> dict[str, Duty]:
    """Return by name what the sweep does: it finds interactions whose worker died or
    whose task was lost, and deletes answers that nobody can ask for again.
    """
    due = Interaction.objects.due().order_by("next_attempt_at")
    return {
        "interactions": duty(lambda: due, task.delay_each, most=400),
        "answers": lambda: old_answers().update(answer=""),
    }


def old_answers() -> QuerySet[Interaction]:
    """Return the interactions whose answer is stored although nobody can ask for it
    again (uses the index interaction_answered).
    """
    old = Interaction.objects.filter(created_at__lt=Now() - _ANSWERS_STORED)
    return old.exclude(answer="")
