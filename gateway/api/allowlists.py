"""Allowlists of mailboxes, and what they refused."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router

from common.mail_addresses import clean_addresses
from gateway import allowlists, paging
from gateway.allowlists import judge
from gateway.answers.accounts import PendingApproval
from gateway.answers.base import answer, documented
from gateway.answers.recipients import AllowlistAnswer, Refusals
from gateway.auth import KeyedRequest, needs
from gateway.confirmations import confirmed
from gateway.lookups import mailbox_named
from gateway.models import Allowlist, AllowlistEntry, Refusal
from gateway.models.accounts import Scope
from gateway.refusals import facts_of
from gateway.schemas.allowlists import AllowlistIn, KindWord
from gateway.timestamps import iso

router = Router(tags=["allowlists"])

_PATH = "/mailboxes/{mailbox}/allowlist"


@router.get(_PATH, auth=needs(Scope.ADMIN), response=documented(AllowlistAnswer))
def read_allowlist(request: KeyedRequest, mailbox: str, kind: Query[KindWord]) -> HttpResponse:
    """Read one list of a mailbox, `kind` restriction or bypass. One that was never written is off, at version 0."""
    box = mailbox_named(request.auth, mailbox)
    found = Allowlist.objects.filter(mailbox=box, kind=kind).first() or Allowlist(mailbox=box, kind=kind)
    return answer(_allowlist(found, timezone.now()))


@router.put(_PATH, auth=needs(Scope.ADMIN), response=documented(AllowlistAnswer) | {202: PendingApproval})
def replace_allowlist(request: KeyedRequest, mailbox: str, body: AllowlistIn) -> HttpResponse:
    """Replace one list of a mailbox whole.

    Entries are `name@domain`, `domain`, or `*.domain` for subdomains. Of two changes to the same `version` one wins;
    the other gets 409 with the version that the list is at now. From a key that also sends, or a sandbox key, it takes
    an operator's code.
    """
    key, box, now = request.auth, mailbox_named(request.auth, mailbox), timezone.now()
    asked = confirmed(
        key=key,
        action="replace_allowlist",
        what={"mailbox": box.pk, **body.act()},
        summary=f"Set the {body.kind} list of {box.address} to {body.mode}, with {len(body.entries)} entries",
        code=body.approval_code,
        now=now,
        # Who sends would be letting itself write to others.
        needed=True if key.is_party() else None,
    )
    with asked:
        changed = allowlists.replace_list(
            key=key,
            mailbox=box,
            kind=body.kind,
            mode=body.mode,
            version=body.version,
            entries=[entry.entry() for entry in body.entries],
            now=now,
        )
    return answer(_allowlist(changed, now))


@router.get("/refusals", auth=needs(Scope.ADMIN, Scope.OVERSIGHT, Scope.OVERSIGHT_READ), response=documented(Refusals))
def list_refusals(request: KeyedRequest, limit: str = "", cursor: str = "") -> HttpResponse:
    """List what restrictions kept out, newest first."""
    rows = Refusal.objects.visible_to(request.auth).select_related("mailbox")
    if before := paging.read_cursor(cursor):
        rows = rows.filter(pk__lt=before)
    size = paging.clamp(limit, default=50, most=100)
    page, following = paging.cut(list(rows[: size + 1]), size)
    return answer({"refusals": [_refusal(refusal) for refusal in page], "cursor": following})


def _allowlist(found: Allowlist, now: datetime) -> dict[str, Any]:
    entries = list(found.entries.order_by("pattern")) if found.pk else []
    shown = [_entry(entry, now) for entry in entries]
    live = sum(entry["live"] for entry in shown)
    return {
        "mailbox_id": found.mailbox_id,
        "mailbox": found.mailbox.address,
        "kind": found.kind,
        "mode": found.mode,
        "version": found.version,
        "entries": shown,
        "live_count": live,
        "expired_count": len(shown) - live,
        "notice": _notice(found, live, now),
        "updated_at": iso(found.updated_at),
    }


def _notice(found: Allowlist, live: int, now: datetime) -> str | None:
    if not live and found.mode == Allowlist.Mode.ENFORCE:
        restricts = found.kind == Allowlist.Kind.RESTRICTION
        return f"No entry is live: {'everybody is refused' if restricts else 'nobody skips the queue'}."
    box = found.mailbox
    copied = clean_addresses(box.auto_cc) + clean_addresses(box.auto_bcc)
    if found.kind == Allowlist.Kind.RESTRICTION and (
        kept_out := judge(mailbox=box, recipients=copied, now=now).outsiders
    ):
        return f"The mailbox sends a copy of everything to {kept_out[0]}, who is not on this list: all mail is refused."
    return None


def _entry(entry: AllowlistEntry, now: datetime) -> dict[str, Any]:
    expired = entry.expires_at is not None and entry.expires_at <= now
    return {
        "pattern": entry.pattern,
        "expires_at": iso(entry.expires_at),
        "note": entry.note or None,
        "live": not expired,
        "expired": expired,
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {"id": refusal.pk, **facts_of(refusal), "created_at": iso(refusal.created_at)}
