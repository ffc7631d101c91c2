"""Allowlists for their pages: the list of a URL, and its scope, and its history in
words.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.http import Http404

from audit.recording import record
from common.actors import Actor
from mirror.models import Connection, Mailbox
from people.models import Person
from policy.allowlists.judgement import ListScope
from policy.models import AllowChange, Allowlist

_SCOPE = re.compile(r"all|(connection|mailbox)-([0-9]{1,18})")
_MODELS: Mapping[str, type[Connection] | type[Mailbox]] = {
    "connection": Connection,
    "mailbox": Mailbox,
}


def scope_of(row: Allowlist) -> ListScope:
    """Return what a list applies to."""
    return ListScope(row.connection_id, row.mailbox_id)


def get_visible_list_or_404(scope: str, kind: str, actor: Actor) -> Allowlist:
    """Return the list that a URL names, unsaved where it was never written.

    Raises Http404 where there can be none, or the actor may not see it. The list for
    all mail applies to every mailbox, so everybody who sees a mailbox may see it.
    """
    missing = Http404("There is no such list, or you may not see it.")
    named = _SCOPE.fullmatch(scope)
    if named is None or kind not in Allowlist.Kind.values or not actor.scopes:
        raise missing
    target = (
        _MODELS[named[1]].objects.visible_to(actor).filter(pk=int(named[2])).first()
        if named[1]
        else None
    )
    if named[1] and target is None:
        raise missing
    keys = {named[1]: target.pk} if target else {}
    row = Allowlist.objects.for_scope(keys.get("connection"), keys.get("mailbox"), kind)
    if target:
        setattr(row, named[1], target)
    return row


@dataclass(frozen=True)
class ChangeInWords:
    """One change with its entry before and after in words; empty where there was none."""

    change: AllowChange
    before: str = ""
    after: str = ""
    mode_before: str = ""
    mode_after: str = ""


def changes_in_words(changes: Iterable[AllowChange]) -> list[ChangeInWords]:
    """Return changes in words, with one query for all owners."""
    listed = list(changes)
    owners = {
        state.get("owner") for one in listed for state in (one.before, one.after)
    } - {None}
    names = {pk: str(person) for pk, person in Person.objects.in_bulk(owners).items()}
    found = []
    for one in listed:
        if one.what == AllowChange.What.MODE:
            modes = (
                one.allowlist.words_of(str(state.get("mode"))).name
                for state in (one.before, one.after)
            )
            found.append(ChangeInWords(one, "", "", *modes))
        else:
            found.append(
                ChangeInWords(one, _words(one.before, names), _words(one.after, names))
            )
    return found


def _words(state: Mapping[str, Any], names: Mapping[int, str]) -> str:
    if not state:
        return ""
    note = f"“{state['note']}”" if state.get("note") else "no note"
    owner = names.get(state.get("owner") or 0, "")
    ends = state.get("expires_at")
    until = (
        f"ends {datetime.fromisoformat(ends).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        if ends
        else "never ends"
    )
    return ", ".join(
        part
        for part in (note, f"owner {owner}" if owner else "no owner", until)
        if part
    )


@transaction.atomic
def note_export(
    *, at: Allowlist, actor: Actor, number: int, text: str, show: str
) -> None:
    """Record who exported how many entries of which list."""
    record(
        "allowlist.exported",
        actor=actor,
        connection=at.owning_connection,
        details={
            "scope": at.label,
            "list": at.kind,
            "entries": str(number),
            "search": text,
            "filter": show,
        },
    )
