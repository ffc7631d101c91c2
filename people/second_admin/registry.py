"""The commands that wait for a second admin, always or if the organisation switched that
on, and the decorator that makes a command wait.

A decorated command checks what it was asked for, yields a function that describes the
change, and only then changes anything. If it has to wait, it stops at its `yield`, and
its name and arguments are stored. Accepting the change calls the same command again. A
test holds that every command of an admin is decorated or listed in `tightening.py`.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar, cast, get_args, get_type_hints

from django.db.models import Model
from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from common.actors import Actor
from common.encryption import decrypt, encrypt
from people.errors import NotYours
from people.models import OrganisationSettings, PendingChange

P = ParamSpec("P")
R = TypeVar("R")

# Arguments that are not stored, because accepting a change gives them new values.
# `code` is a code of MultiMail's operator.
_GIVEN_AGAIN = {"actor", "code"}
_OF_ANOTHER_VERSION = "Another version of the desk stored this change, and this one cannot read it. Ask for it again."


@dataclass(frozen=True)
class ChangeInWords:
    """A change as the second admin reads it, and which part of the desk it is about."""

    title: str
    before: str
    after: str
    # The address of the page on which the change is made.
    page: str
    # What it is about: a mailbox, a connection, or without both the whole desk.
    connection: int | None = None
    mailbox: int | None = None
    # The people whom it concerns: whose roles, groups, factors or keys it changes. None
    # of them accepts it.
    subjects: Sequence[int] = ()
    # Like `before`, this has to be the same when the change is accepted.
    based_on: Any = None
    # Whether this call tightens, by its arguments and what is stored: then it does not
    # wait. If that cannot be told, it counts as loosening.
    tightens: bool = False
    # Of a command that asks for two admins whatever the organisation has set: whether
    # this call does.
    always: bool = True
    # Both are empty unless the change has to wait: the command's name, and its
    # arguments as JSON (`WaitingCommand.asked`).
    command: str = ""
    change: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A hash of what the change is based on."""
        known = [self.before, self.based_on, sorted(self.subjects)]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


# The type of a command that can wait: a generator, which yields a function that
# describes the change, and returns the command's result. The function is only called if
# the command may have to wait.
CanWait = Generator[Callable[[], ChangeInWords], None, R]


def listed(values: Mapping[str, Any]) -> str:
    """Return the values that are not empty, one on each line, for `before` and `after`
    of a change: "name: Support". A line end in a value would look like another value,
    so it becomes a space.
    """
    lines = []
    for name, value in values.items():
        words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        if words not in (None, ""):
            one_line = " ".join(str(words).split())
            lines.append(f"{name.replace('_', ' ')}: {one_line}")
    return "\n".join(lines)


class SecondAdminNeeded(Exception):
    """The command has to wait until a second admin accepts it. Nothing was changed.
    `asked` is the change.
    """

    def __init__(self, asked: ChangeInWords) -> None:
        super().__init__(asked.title)
        self.asked = asked


@dataclass(frozen=True)
class WaitingCommand:
    """A command that can wait for a second admin."""

    name: str
    kind: str
    run: Callable[..., CanWait[Any]]
    # If so, the command is carried out outside of a transaction.
    calls_multimail: bool = False
    # The names of arguments that are stored encrypted.
    secrets: tuple[str, ...] = ()
    # Returns from the command's result the secret that it made, which is shown to the
    # admin who asked; half of it if it is a link, by which one admin alone could get an
    # account. The other half is shown to the admin who accepted.
    made: Callable[[Any], str] | None = None
    is_link: bool = False

    def asked(
        self, words: ChangeInWords, arguments: Mapping[str, Any]
    ) -> ChangeInWords:
        """Return the change with this command's name and the arguments of one call,
        ready to be stored.
        """
        hints = get_type_hints(self.run)
        plain = {
            name: _stored_as(hints[name]).dump_python(one, mode="json")
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
        """Call the command with the stored arguments of a change, and return its
        result. Raises NotYours if what the change is based on has changed.
        """
        stored = dict(change["arguments"])
        if "secret" in change:
            stored |= json.loads(decrypt(change["secret"]))
        hints = get_type_hints(self.run)
        new_values = {"actor": actor, "code": code}
        try:
            arguments = {
                name: _stored_as(hints[name]).validate_python(one)
                for name, one in stored.items()
            }
            arguments |= {
                name: one for name, one in new_values.items() if name in hints
            }
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
    """Run a command on from its `yield` to its end, and return its result."""
    try:
        next(steps)
    except StopIteration as end:
        return cast(R, end.value)
    raise TypeError("A command says once what it would change.")


# All commands that can wait, by name; the decorator adds them.
COMMANDS: dict[str, WaitingCommand] = {}


def command_of(change: PendingChange) -> WaitingCommand:
    """Return the command of a change. If this version has no such command, return one
    that always refuses.
    """
    return COMMANDS.get(change.command) or WaitingCommand(
        change.command, change.command, _refuse
    )


def _refuse(**_: Any) -> Any:
    raise NotYours(_OF_ANOTHER_VERSION)


def is_second_admin_on() -> bool:
    """Whether the organisation lets changes wait for a second admin."""
    return OrganisationSettings.objects.filter(
        second_admin_since__isnull=False
    ).exists()


def wants_second_admin(actor: Actor) -> bool:
    """Whether a change by this actor has to wait: it does if the actor is a person, and
    no second admin has accepted it.

    Operators on the command line and rules do not wait for admins; what they may do is
    decided elsewhere.
    """
    return actor.kind == "person" and not actor.second and is_second_admin_on()


def second_admin(
    kind: str, *, always: bool = False, **options: Any
) -> Callable[[Callable[P, CanWait[R]]], Callable[P, R]]:
    """Decorate a command: it raises SecondAdminNeeded at its `yield` if it has to wait
    for a second admin. `options` are further fields of WaitingCommand.

    With `always` it needs two admins whatever the organisation has set, unless the
    change says otherwise. Put `atomic_with_retry` above it, so that what the command
    read before its `yield` still holds afterwards.
    """

    def decorate(command: Callable[P, CanWait[R]]) -> Callable[P, R]:
        name = command.__name__
        registered = COMMANDS.get(name)
        if registered and registered.run.__module__ != command.__module__:
            raise TypeError(
                f"Two commands are named {name}: {registered.run.__module__} and {command.__module__}."
            )
        waiting = COMMANDS[name] = WaitingCommand(name, kind, command, **options)
        signature = inspect.signature(command)

        @wraps(command)
        def run_or_wait(*args: P.args, **kwargs: P.kwargs) -> R:
            actor = cast(Actor, kwargs["actor"])
            steps = command(*args, **kwargs)
            describe = next(steps, None)
            if describe is None:
                raise TypeError(f"{name} does not say what it would change.")
            if not actor.second if always else wants_second_admin(actor):
                words = describe()
                waits = words.always or wants_second_admin(actor)
                if waits and not words.tightens:
                    call = signature.bind(*args, **kwargs)
                    call.apply_defaults()
                    raise SecondAdminNeeded(waiting.asked(words, call.arguments))
            return _finish(steps)

        return run_or_wait

    return decorate


def row_of(kind: type[Model]) -> PlainValidator:
    """Return what reads a row of this model from its key. Raises NotYours if it is
    gone, as are rows of a removed connection.
    """

    def read(key: Any) -> Model | None:
        rows = kind._default_manager.all()
        if hasattr(rows, "at_work"):
            rows = rows.at_work()
        row = rows.filter(pk=key).first()
        if row is None and key is not None:
            raise NotYours(
                f"The {kind._meta.verbose_name} that this changes is no longer there."
            )
        return row

    return PlainValidator(read)


AS_KEY = PlainSerializer(lambda row: row and row.pk)


def _stored_as(hint: Any) -> TypeAdapter[Any]:
    """Return what writes and reads arguments of this type as JSON; a row by its key."""
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, Model):
            return TypeAdapter(Annotated[Any, row_of(kind), AS_KEY])
    return TypeAdapter(hint)
