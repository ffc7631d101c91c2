"""The commands that wait for a second admin, where the organisation switched that on.

A command of an admin waits unless `tightening.py` names it as one that can only
tighten. It checks what is asked for, yields once what that would change in words, and
only then changes anything: where it has to wait, it ends at its `yield`, and its name
and its arguments are stored. Accepting calls the same command again.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache, wraps
from types import NoneType
from typing import Any, ParamSpec, TypeVar, cast, get_args, get_origin, get_type_hints

from django.db.models import Model

from common.actors import Actor
from common.encryption import decrypt, encrypt
from common.postgres import clock
from people.errors import NotYours
from people.models import OrganisationSettings, PendingChange

P = ParamSpec("P")
R = TypeVar("R")

# Who acts, when, and with which code of MultiMail's operator is given again when a change
# is accepted.
_GIVEN_AGAIN = {"actor", "now", "code"}
_OF_ANOTHER_VERSION = "Another version of the desk stored this change, and this one cannot read it. Ask for it again."


@dataclass(frozen=True)
class ChangeInWords:
    """What the second admin reads of a change, and where it belongs.

    `page` is the address of what it changes. Without connection and mailbox it is of
    everything. `about` is the person whose rights it changes. Besides `before`,
    `based_on` has to be the same when the change is accepted. One that `tightens`, by
    its arguments and what is stored, does not wait; what cannot be read counts as
    loosening. Once it has to wait, it has the name of its `command`, and in `change` the
    arguments as JSON.
    """

    title: str
    before: str
    after: str
    page: str
    connection: int | None = None
    mailbox: int | None = None
    about: int | None = None
    based_on: Any = None
    tightens: bool = False
    command: str = ""
    change: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A hash of what the change is based on."""
        based_on = json.dumps([self.before, self.based_on], sort_keys=True)
        return hashlib.sha256(based_on.encode()).hexdigest()


# What a command is that can wait: it yields its change in words, and returns its result.
# The words are only asked for where it may have to wait.
CanWait = Generator[Callable[[], ChangeInWords], None, R]


def listed(values: Mapping[str, Any]) -> str:
    """Return the values that are not empty, one a line, as a change reads: "name:
    Support".
    """
    lines = []
    for name, value in values.items():
        words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        if words not in (None, ""):
            lines.append(f"{name.replace('_', ' ')}: {words}")
    return "\n".join(lines)


class SecondAdminNeeded(Exception):
    """A command waits for a second admin, who has to accept it first. Nothing was
    changed.
    """

    def __init__(self, asked: ChangeInWords) -> None:
        super().__init__(asked.title)
        self.asked = asked


@dataclass(frozen=True)
class WaitingCommand:
    """A command that waits.

    `secrets` are arguments that are stored encrypted. `made` returns a secret that the
    command made, for the admin who asked for it. One that `calls_multimail` is carried
    out outside of a transaction.
    """

    name: str
    kind: str
    run: Callable[..., CanWait[Any]]
    calls_multimail: bool = False
    secrets: tuple[str, ...] = ()
    made: Callable[[Any], str] | None = None

    def asked(
        self, words: ChangeInWords, arguments: Mapping[str, Any]
    ) -> ChangeInWords:
        """Return a call of the command as a change that can wait."""
        plain = {
            name: as_json(one)
            for name, one in arguments.items()
            if name not in _GIVEN_AGAIN
        }
        change = {"arguments": plain, "seen": words.fingerprint}
        if self.secrets:
            change["secret"] = encrypt(
                json.dumps({name: plain.pop(name) for name in self.secrets})
            )
        return replace(words, command=self.name, change=change)

    def carry_out(self, change: Mapping[str, Any], *, actor: Actor, code: str) -> Any:
        """Call the command with the arguments of a change. Raises NotYours where what
        it is based on has changed.
        """
        stored = dict(change["arguments"])
        if "secret" in change:
            stored |= json.loads(decrypt(change["secret"]))
        hints = get_type_hints(self.run)
        said = {"actor": actor, "now": clock(), "code": code}
        try:
            arguments = {
                name: from_json(hints[name], one) for name, one in stored.items()
            }
            arguments |= {name: one for name, one in said.items() if name in hints}
            inspect.signature(self.run).bind(**arguments)
        except (KeyError, TypeError, ValueError):
            raise NotYours(_OF_ANOTHER_VERSION) from None
        steps = self.run(**arguments)
        if next(steps)().fingerprint != change["seen"]:
            raise NotYours(
                "This has changed since it was asked. Look at it as it is now, then ask again."
            )
        return _finish(steps)


def _finish(steps: CanWait[R]) -> R:
    """Run a command on from its `yield`, and return its result."""
    try:
        next(steps)
    except StopIteration as end:
        return cast(R, end.value)
    raise TypeError("A command says once what it would change.")


COMMANDS: dict[str, WaitingCommand] = {}


def command_of(change: PendingChange) -> WaitingCommand:
    """Return the command of a change; where no version has it any more, one that only
    says so.
    """
    return COMMANDS.get(change.command) or WaitingCommand(
        change.command, change.command, _refuse
    )


def _refuse(**_: Any) -> Any:
    raise NotYours(_OF_ANOTHER_VERSION)


def is_second_admin_on() -> bool:
    """Whether the organisation switched on that changes wait for a second admin."""
    return OrganisationSettings.objects.filter(
        second_admin_since__isnull=False
    ).exists()


def wants_second_admin(actor: Actor) -> bool:
    """Whether a change that this actor wants has to wait: a person's, unless a second
    admin accepted it.

    Operators on the command line and rules are no admins who could be two; what they
    may do is decided elsewhere.
    """
    return actor.kind == "person" and not actor.second and is_second_admin_on()


def second_admin(
    kind: str,
    *,
    always: bool = False,
    calls_multimail: bool = False,
    secrets: tuple[str, ...] = (),
    made: Callable[[Any], str] | None = None,
) -> Callable[[Callable[P, CanWait[R]]], Callable[P, R]]:
    """Decorate a command: it raises SecondAdminNeeded at its `yield` where it has to
    wait for a second admin.

    `always`: it takes two admins whatever the organisation has set. Put
    `atomic_with_retry` above it, so that what it read before its `yield` is still so
    afterwards.
    """

    def decorate(command: Callable[P, CanWait[R]]) -> Callable[P, R]:
        name = command.__name__
        known = COMMANDS.get(name)
        if known is not None and known.run.__module__ != command.__module__:
            raise TypeError(
                f"Two commands are named {name}: {known.run.__module__} and {command.__module__}."
            )
        waiting = WaitingCommand(name, kind, command, calls_multimail, secrets, made)
        COMMANDS[name] = waiting
        signature = inspect.signature(command)

        @wraps(command)
        def run_or_wait(*args: P.args, **kwargs: P.kwargs) -> R:
            actor = cast(Actor, kwargs["actor"])
            steps = command(*args, **kwargs)
            in_words = next(steps, None)
            if in_words is None:
                raise TypeError(f"{name} does not say what it would change.")
            if not actor.second if always else wants_second_admin(actor):
                words = in_words()
                if not words.tightens:
                    call = signature.bind(*args, **kwargs)
                    call.apply_defaults()
                    raise SecondAdminNeeded(waiting.asked(words, call.arguments))
            return _finish(steps)

        return run_or_wait

    return decorate


def as_json(value: Any) -> Any:
    """Return an argument as JSON."""
    if isinstance(value, Model):
        return value.pk
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if is_dataclass(value):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(one) for one in value]
    return value


@lru_cache
def _hints_of(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def from_json(hint: Any, value: Any) -> Any:
    """Return what `as_json` turned into JSON, as the type `hint`. Raises NotYours for a
    row that is gone.
    """
    if value is None or hint is Any:
        return value
    choices = [one for one in get_args(hint) if one is not NoneType]
    if NoneType in get_args(hint):
        (hint,) = choices
        choices = list(get_args(hint))
    kind = get_origin(hint) or hint
    if issubclass(kind, Model):
        rows = kind._default_manager.all()
        if hasattr(rows, "at_work"):
            # Without those of a connection that was removed.
            rows = rows.at_work()
        found = rows.filter(pk=value).first()
        if found is None:
            raise NotYours(
                f"The {kind._meta.verbose_name} that this changes is no longer there."
            )
        return found
    if issubclass(kind, timedelta):
        return timedelta(seconds=value)
    if issubclass(kind, datetime):
        return datetime.fromisoformat(value)
    if is_dataclass(kind):
        hints = _hints_of(cast(Any, kind))
        return cast(Any, kind)(
            **{name: from_json(hints[name], one) for name, one in value.items()}
        )
    if issubclass(kind, Mapping):
        return {
            from_json(choices[0], name): from_json(choices[1], one)
            for name, one in value.items()
        }
    if issubclass(kind, tuple) and choices[-1] is not Ellipsis:
        return tuple(
            from_json(one, part) for one, part in zip(choices, value, strict=True)
        )
    if isinstance(value, list):
        parts = [from_json(choices[0], part) for part in value]
        return tuple(parts) if issubclass(kind, tuple) else parts
    return kind(value)
