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
from common.pages import first_or_404
from mirror.models import Connection, Mailbox
from people.models import Person
from policy.allowlists.judgement import ListScope
from policy.models import AllowChange, Allowlist

_SCOPE = re.compile(r"all|(connection|mailbox)-([0-9]{1,18})")
_MISSING = "There is no such list, or you may not see it."


def scope_of(row: Allowlist) -> ListScope:
    """Return what a list applies to."""
    return ListScope(row.connection_id, row.mailbox_id)


def get_visible_list_or_404(scope: str, kind: str, actor: Actor) -> Allowlist:
    """Return the list that a URL names, unsaved where it was never written.

    Raises Http404 where there can be none, or the actor may not see it. The list for
    all mail applies to every mailbox, so everybody who sees a mailbox may see it.
    """
    named = _SCOPE.fullmatch(scope)
    if named is None or kind not in Allowlist.Kind.values or not actor.scopes:
        raise Http404(_MISSING)
    if named[1] == "connection":
        connections = Connection.objects.visible_to(actor).filter(pk=named[2])
        connection = first_or_404(connections, _MISSING)
        row = Allowlist.objects.for_scope(connection.pk, None, kind)
        row.connection = connection
        return row
    if named[1] == "mailbox":
        mailboxes = Mailbox.objects.visible_to(actor).filter(pk=named[2])
        mailbox = first_or_404(mailboxes, _MISSING)
        row = Allowlist.objects.for_scope(None, mailbox.pk, kind)
        row.mailbox = mailbox
        return row
    return Allowlist.objects.for_scope(None, None, kind)


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
    sides = [(one.before, one.after) for one in listed]
    owners = {state.get("owner") for both in sides for state in both} - {None}
    people = Person.objects.in_bulk(owners)
    found = []
    for one, both in zip(listed, sides, strict=True):
        if one.what == AllowChange.What.MODE:
            modes = (
                one.allowlist.words_of(str(each.get("mode"))).name for each in both
            )
            found.append(ChangeInWords(one, "", "", *modes))
        else:
            found.append(ChangeInWords(one, *(_words(each, people) for each in both)))
    return found


def _words(state: Mapping[str, Any], people: Mapping[int, Person]) -> str:
    if not state:
        return ""
    note = f"“{state['note']}”" if state.get("note") else "no note"
    owner = people.get(state.get("owner") or 0)
    whose = f"owner {owner}" if owner else "no owner"
    until = "never ends"
    if ends := state.get("expires_at"):
        moment = datetime.fromisoformat(ends).astimezone(UTC)
        until = f"ends {moment:%Y-%m-%d %H:%M} UTC"
    return f"{note}, {whose}, {until}"


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
