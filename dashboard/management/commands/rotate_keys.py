"""The command that encrypts all stored secrets again, with the newest key of
ENCRYPTION_KEYS. docs/operators/keys.md explains the three steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import models, transaction
from django.db.models.functions import Cast

from audit.recording import record
from common.actors import operator
from common.encryption import EncryptedTextField, decrypt, encrypt, uses_newest_key
from dashboard.hosts import join

ACTOR = operator("rotate_keys")
# How many rows are read at a time.
CHUNK = 500
# Models with secrets inside a JSON field, with the field and the names of the secrets
# in it: allauth's second factors, and changes that wait for a second admin.
_IN_JSON = {
    "mfa.authenticator": ("data", ("secret", "seed", "migrated_codes")),
    "people.pendingchange": ("change", ("secret", "second_half")),
}


class Command(BaseCommand):
    """Changes only how secrets are stored. The product may run meanwhile, and the
    command can be repeated.
    """

    help = "Encrypts every stored secret with the first of ENCRYPTION_KEYS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--lost",
            action="store_true",
            help="accept the present keys for a database whose keys are lost",
        )

    def handle(self, *args: Any, lost: bool, **options: Any) -> None:
        """Rotate the keys, and print how many secrets were encrypted with an older
        one.
        """
        if lost:
            join()
        done = rotate()
        renewed = f"{_number(done.older, 'secret')} in {_number(done.rows, 'row')}"
        if done.rows:
            with transaction.atomic():
                record(
                    "secrets.rotated",
                    actor=ACTOR,
                    details={"explanation": f"{renewed}."},
                )
        if done.unreadable:
            raise CommandError(
                f"No key in ENCRYPTION_KEYS can read what is stored in: {', '.join(done.unreadable)}. Add the key that "
                "it was written with and run this again, or enter these secrets again."
            )
        if not done.older:
            self.stdout.write(f"All {done.secrets} secrets already use the newest key.")
            return
        self.stdout.write(
            f"Encrypted again: {renewed}. Run this again in twelve hours, before you remove older keys."
        )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@dataclass
class Tally:
    """What a run has found and done."""

    secrets: int = 0
    # How many secrets were encrypted with an older key.
    older: int = 0
    # How many rows were encrypted again.
    rows: int = 0
    # The rows that no key can decrypt.
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Kind:
    """A model that stores secrets."""

    model: type[models.Model]
    # Fields that are encrypted as a whole.
    fields: tuple[str, ...]
    # A JSON field, and the names of the secrets in it.
    json: str
    names: tuple[str, ...]

    def stored(self) -> "models.QuerySet[models.Model]":
        """Return the model's rows. The encrypted text of field NAME is in the attribute
        `stored_NAME`.
        """
        stored = {
            f"stored_{name}": Cast(name, models.TextField()) for name in self.fields
        }
        # Load only these fields: a loaded field is decrypted, and a failure would end
        # the whole run.
        rows: models.QuerySet[models.Model] = self.model._base_manager.annotate(
            **stored
        )
        return rows.only("pk", *([self.json] if self.json else [])).order_by("pk")

    def rows(self) -> Iterator[models.Model]:
        """Yield all rows, which are read in chunks."""
        rows = self.stored()
        chunk = list(rows[:CHUNK])
        while chunk:
            yield from chunk
            chunk = list(rows.filter(pk__gt=chunk[-1].pk)[:CHUNK])

    def tokens(self, row: Any) -> Iterator[str]:
        """Yield all secrets of a row, in encrypted form."""
        for name in self.fields:
            if token := getattr(row, f"stored_{name}"):
                yield token
        for name in self.names:
            value = (getattr(row, self.json) or {}).get(name)
            yield from [
                one
                for one in (value if isinstance(value, list) else [value])
                if isinstance(one, str) and one
            ]

    def renewed(self, row: Any) -> dict[str, Any]:
        """Return the values to save, so that every secret of the row is encrypted with
        the newest key.
        """
        # These fields encrypt the value when it is saved.
        values: dict[str, Any] = {
            name: decrypt(token)
            for name in self.fields
            if (token := getattr(row, f"stored_{name}"))
        }
        if self.json:
            content = dict(getattr(row, self.json) or {})
            values[self.json] = content | {
                name: _reencrypted(content[name])
                for name in self.names
                if content.get(name)
            }
        return values


def rotate() -> Tally:
    """Encrypt secrets of older keys with the newest one. If a run is interrupted, the
    next one skips the rows that are done.
    """
    tally = Tally()
    for kind in _kinds():
        for row in kind.rows():
            tokens = list(kind.tokens(row))
            older = sum(not uses_newest_key(token) for token in tokens)
            tally.secrets += len(tokens)
            tally.older += older
            if older:
                _renew(kind, row.pk, tally)
    return tally


def _kinds() -> Iterator[_Kind]:
    for model in apps.get_models():
        if model._meta.proxy:
            continue
        fields = [
            one.name
            for one in model._meta.local_concrete_fields
            if isinstance(one, EncryptedTextField)
        ]
        json, names = _IN_JSON.get(model._meta.label_lower, ("", ()))
        if fields or json:
            yield _Kind(model, tuple(fields), json, names)


def _renew(kind: _Kind, key: Any, tally: Tally) -> None:
    """Encrypt one row's secrets again, under a lock: a secret that somebody changes
    meanwhile must not be overwritten.
    """
    try:
        with transaction.atomic():
            locked = kind.stored().select_for_update(no_key=True).filter(pk=key).first()
            if locked is not None:
                kind.model._base_manager.filter(pk=key).update(**kind.renewed(locked))
                tally.rows += 1
    except ImproperlyConfigured:
        tally.unreadable.append(f"{kind.model._meta.label} {key}")


def _reencrypted(stored: Any) -> Any:
    if isinstance(stored, list):
        return [_reencrypted(one) for one in stored]
    return encrypt(decrypt(stored))
