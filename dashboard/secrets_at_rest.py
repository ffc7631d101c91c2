"""Finds every secret in the database, and encrypts each with the newest key, one row at
a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import models, transaction
from django.db.models.functions import Cast

from common.encryption import EncryptedTextField, decrypt, encrypt, uses_newest_key

CHUNK = 500
# Secrets inside JSON fields: allauth's second factors, and what waits for a second
# admin. Model, field, names in it.
_IN_JSON = {
    "mfa.authenticator": ("data", ("secret", "seed", "migrated_codes")),
    "people.pendingchange": ("change", ("secret",)),
}


@dataclass
class Tally:
    """The number of secrets, how many of them use or used an older key, and which
    cannot be decrypted.
    """

    secrets: int = 0
    older: int = 0
    rows: int = 0
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Kind:
    """A model with secrets: `fields` are encrypted whole, `json` is a JSON field with
    names of secrets in it.
    """

    model: type[models.Model]
    fields: tuple[str, ...] = ()
    json: str = ""
    names: tuple[str, ...] = ()

    def stored(self) -> "models.QuerySet[models.Model]":
        """The model's rows, with each secret as it is stored."""
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
        """Read them, some at a time."""
        rows = self.stored()
        chunk = list(rows[:CHUNK])
        while chunk:
            yield from chunk
            chunk = list(rows.filter(pk__gt=chunk[-1].pk)[:CHUNK])

    def tokens(self, row: Any) -> Iterator[str]:
        """All secrets of a row, as they are stored."""
        for name in self.fields:
            if token := getattr(row, f"stored_{name}"):
                yield token
        for name in self.names:
            found = (getattr(row, self.json) or {}).get(name)
            yield from [
                one
                for one in (found if isinstance(found, list) else [found])
                if isinstance(one, str) and one
            ]

    def renewed(self, row: Any) -> dict[str, Any]:
        """Return the values to save, so that every secret of the row is encrypted with
        the newest key.
        """
        # The field encrypts the value when it is saved.
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


def rotate(
    *, report: Callable[[str], None] = lambda line: None, renews: bool = True
) -> Tally:
    """Re-encrypt secrets of older keys with the newest one. If interrupted, the next
    run skips finished rows.
    """
    tally = Tally()
    for kind in _kinds():
        before = tally.older
        for row in kind.rows():
            tokens = list(kind.tokens(row))
            older = sum(not uses_newest_key(token) for token in tokens)
            tally.secrets += len(tokens)
            tally.older += older
            if older and renews:
                _renew(kind, row.pk, tally)
        if tally.older > before:
            report(f"{kind.model._meta.label}: {tally.older - before}")
    return tally


def look() -> Tally:
    """Count the secrets, and those of older keys. Nothing is changed."""
    return rotate(renews=False)


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
    """Renew one row under a lock, so that a concurrent change of a secret is not
    overwritten.
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
