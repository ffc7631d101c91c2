"""Routes of the allowlists of mailboxes, and of the messages that were refused."""

from typing import Annotated, Literal, Self

from annotated_types import MaxLen
from django.conf import settings
from django.http import JsonResponse
from ninja import Query, Router
from pydantic import BeforeValidator, Field, model_validator

from common.mail_addresses import (
    MAX_PATTERN,
    clean_addresses,
    patterns_for,
    read_pattern,
)
from common.unique_keys import Json
from gateway import allowlists
from gateway.api.answers import (
    CONFIRMABLE,
    Answer,
    Iso,
    LongPageFilters,
    Page,
    PageFilters,
    PendingApproval,
    TextOrNone,
    clamp,
    page_of,
)
from gateway.api.bodies import (
    Body,
    Confirmable,
    ConfirmIn,
    Line,
    Lower,
    Moment,
    OptionalAddress,
    ShortLine,
    example,
)
from gateway.auth import ADMIN, READ, BearerKey, KeyedRequest, check_scopes
from gateway.lookups import mailbox_named
from gateway.models import Allowlist, AllowlistEntry, ApiKey, Mailbox, Refusal, Scope
from gateway.models.recipients import AllowlistEntryQuerySet
from gateway.states import Mode
from gateway.timestamps import iso

_PATH = "/mailboxes/{mailbox}/allowlist"


def _pattern(value: object) -> str:
    # Returns the pattern in its stored form. Raises ValueError.
    if not isinstance(value, str):
        raise ValueError(
            "must be text such as jane@example.org, example.org or *.example.org."
        )
    return read_pattern(value)


def _few(value: object) -> object:
    # Counted before any entry is parsed, so that a huge list costs nothing.
    if isinstance(value, list) and len(value) > allowlists.MAX_ENTRIES:
        raise ValueError(f"at most {allowlists.MAX_ENTRIES} entries.")
    return value


# Words and not the model's classes: the OpenAPI document knows a class by its bare
# name, and `Mode` is the oversight mode there.
KindWord = Annotated[Literal["restriction", "bypass"], Lower]
ListModeWord = Annotated[Literal["off", "monitor", "enforce", "contacts"], Lower]


class EntryIn(Body):
    """Who is on the list, and until when."""

    pattern: Annotated[str, BeforeValidator(_pattern)]
    expires_at: Moment | None = None
    note: Annotated[Line, MaxLen(300)] | None = None


class AllowlistIn(Confirmable):
    """A whole list. `version` is the version that you have read; a list that was never
    written is at 0.
    """

    model_config = example(
        {
            "kind": "restriction",
            "mode": "monitor",
            "version": 0,
            "entries": [
                "example.org",
                {
                    "pattern": "jane@example.com",
                    "expires_at": "2099-01-01T00:00:00Z",
                    "note": "until the fair",
                },
            ],
        }
    )

    kind: KindWord
    mode: ListModeWord
    version: Annotated[int, clamp(0, 2_000_000_000)] = 0
    entries: Annotated[
        list[
            Annotated[
                EntryIn,
                BeforeValidator(
                    lambda entry: (
                        {"pattern": entry} if isinstance(entry, str) else entry
                    ),
                    json_schema_input_type=EntryIn | str,
                ),
            ]
        ],
        BeforeValidator(_few),
        MaxLen(allowlists.MAX_ENTRIES),
    ]

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "bypass" and self.mode == "contacts":
            raise ValueError(
                "mode: contacts is for restrictions only; a bypass is off, monitor or enforce."
            )
        return self


class NewEntryIn(Confirmable):
    """Whose mail needs no review: `name@domain`, or `*@domain` for everybody there."""

    model_config = example({"pattern": "*@example.org", "note": "Our printer"})

    pattern: Annotated[str, BeforeValidator(_pattern), MaxLen(MAX_PATTERN)]
    note: ShortLine | None = None


class ListModeIn(Confirmable):
    """The mode of the bypass list."""

    model_config = example({"mode": "monitor"})

    mode: Annotated[Literal["off", "monitor", "enforce"], Lower]


class AllowlistEntryAnswer(Answer):
    """One entry; an expired one has no effect any more."""

    pattern: str
    expires_at: Iso | None
    note: TextOrNone
    expired: bool


class AllowlistAnswer(Answer):
    """One list of one mailbox."""

    mailbox_id: str
    kind: str
    mode: str
    version: int
    entries: list[AllowlistEntryAnswer]
    updated_at: str | None


def _as_multimail_writes(pattern: str) -> str:
    """Return a pattern as MultiMail writes it: a whole domain as `*@domain`."""
    is_domain = "@" not in pattern and not pattern.startswith("*")
    return f"*@{pattern}" if is_domain else pattern


class BypassEntry(Answer):
    """Whose mail needs no review."""

    id: str
    pattern: Annotated[str, BeforeValidator(_as_multimail_writes)]
    note: TextOrNone
    added_by: str = Field(validation_alias="added_by_key_id")
    added_at: Iso = Field(validation_alias="created_at")
    expires_at: Iso | None


class BypassEntries(Page):
    """A page of the live entries of the bypass list; `count` is that of all."""

    mailbox_id: str
    count: int
    entries: list[BypassEntry]


class BypassStatus(Answer):
    """What the bypass list does.

    `notice` says why its entries have no effect now, and `listed` whether one of them
    names `recipient`.
    """

    mailbox_id: str
    mode: str
    count: int
    notice: str | None
    updated_at: str | None
    recipient: str | None
    listed: bool | None


class RefusalAnswer(Answer):
    """A message that was refused because of a recipient."""

    id: str
    mailbox_id: str
    key_id: str
    key_name: str
    recipients: list[str]
    refused_recipients: list[str]
    rule: str
    metadata: Json
    created_at: str


class Refusals(Page):
    """A page of refusals."""

    refusals: list[RefusalAnswer]


class AllowlistFilters(LongPageFilters):
    """The parameters of a list: a page of live entries, or the whole list of a kind."""

    kind: KindWord | None = None


router = Router(tags=["allowlists"], auth=ADMIN)


@router.get(_PATH, auth=READ, response=BypassEntries | AllowlistAnswer)
def read_allowlist(
    request: KeyedRequest, mailbox: str, filters: Query[AllowlistFilters]
) -> Json:
    """List the live entries of a mailbox's bypass list, oldest first; with `kind` read
    one whole list, which needs `admin`, and has at most 5,000 entries.

    `kind` is restriction or bypass. A list that was never written is off, at version 0.
    """
    box = mailbox_named(request.auth, mailbox)
    if filters.kind is None:
        live = _live_entries(_list_of(box, Allowlist.Kind.BYPASS))
        page = page_of(live, "entries", BypassEntry.of, filters, oldest_first=True)
        return {"mailbox_id": box.pk, "count": live.count(), **page}
    check_scopes(request.auth, Scope.ADMIN)
    return _allowlist_json(_list_of(box, filters.kind))


@router.post(_PATH, response={201: BypassEntry, 202: PendingApproval})
def add_entry(request: KeyedRequest, mailbox: str, body: NewEntryIn) -> JsonResponse:
    """Add an entry to the bypass list of a mailbox. It always takes an operator's code.

    The list's mode stays as it is: while that is not enforce, `notice` says that the
    entry has no effect.
    """
    key = request.auth
    box = mailbox_named(key, mailbox)
    with body.confirmed(
        key,
        "add_allowlist_entry",
        f"Send mail of {box.address} to {body.pattern} without review",
        needed=True,
        mailbox=box.pk,
    ):
        added = allowlists.add_entry(
            key, box, pattern=body.pattern, note=body.note or ""
        )
    notice = _why_without_effect(added.allowlist, box)
    return JsonResponse(BypassEntry.of(added) | {"notice": notice}, status=201)


@router.put(_PATH + "/mode", response={200: BypassStatus, 202: PendingApproval})
def set_list_mode(request: KeyedRequest, mailbox: str, body: ListModeIn) -> Json:
    """Set the mode of a mailbox's bypass list: off, monitor or enforce. To enforce it
    takes an operator's code.
    """
    key = request.auth
    box = mailbox_named(key, mailbox)
    # Only in the mode enforce does it let mail skip the review; the other modes are
    # stricter. It needs the code also if it is in force: it may be switched off now.
    with body.confirmed(
        key,
        "set_allowlist_mode",
        f"Set the allowlist of {box.address} to {body.mode}",
        needed=body.mode == "enforce" or None,
        mailbox=box.pk,
    ):
        changed = allowlists.set_bypass_mode(key, box, body.mode)
    return _status_json(changed, box)


@router.get(_PATH + "/status", auth=READ, response=BypassStatus)
def read_list_status(
    request: KeyedRequest, mailbox: str, recipient: Query[OptionalAddress | None] = None
) -> Json:
    """Read the mode of a mailbox's bypass list, and whether it names a `recipient`."""
    box = mailbox_named(request.auth, mailbox)
    return _status_json(_list_of(box, Allowlist.Kind.BYPASS), box, recipient)


@router.delete(_PATH + "/{entry_id}", response=CONFIRMABLE)
def remove_entry(
    request: KeyedRequest,
    mailbox: str,
    entry_id: str,
    body: ConfirmIn = ConfirmIn(),  # noqa: B008
    approval_code: str = "",
) -> Json:
    """Remove an entry from the bypass list of a mailbox."""
    key = request.auth
    box = mailbox_named(key, mailbox)
    with body.confirmed(
        key,
        "remove_allowlist_entry",
        f"Remove the entry {entry_id} from the allowlist of {box.address}",
        code=approval_code,
        mailbox=box.pk,
        id=entry_id,
    ):
        allowlists.remove_entry(key, box, entry_id)
    return {"id": entry_id, "status": "removed"}


@router.put(_PATH, response={200: AllowlistAnswer, 202: PendingApproval})
def replace_allowlist(request: KeyedRequest, mailbox: str, body: AllowlistIn) -> Json:
    """Replace one list of a mailbox whole.

    Entries are `name@domain`, `domain`, or `*.domain` for subdomains. Of two changes to
    the same `version` one wins; the other gets 409 with the version that the list is at
    now. From a key that also sends, or a sandbox key, it takes an operator's code; so
    does a bypass by which more mail skips the review, and any bypass if admin acts need
    codes.
    """
    key = request.auth
    box = mailbox_named(key, mailbox)
    patterns = ", ".join(entry.pattern for entry in body.entries) or "no entries"
    with body.confirmed(
        key,
        "replace_allowlist",
        f"Set the {body.kind} list of {box.address} to {body.mode}, with {len(body.entries)} entries: {patterns}",
        needed=_needs_code(key, box, body),
        mailbox=box.pk,
    ):
        changed = allowlists.replace_list(
            key,
            box,
            kind=body.kind,
            mode=body.mode,
            version=body.version,
            entries=[
                AllowlistEntry(
                    pattern=entry.pattern,
                    expires_at=entry.expires_at,
                    note=entry.note or "",
                )
                for entry in body.entries
            ],
        )
    return _allowlist_json(changed)


def _needs_code(key: ApiKey, box: Mailbox, body: AllowlistIn) -> bool | None:
    """Return whether a change of a list needs a code; None leaves that to the
    operator's setting.
    """
    if key.has_conflict_of_interest():
        # A key that sends would widen its own list of recipients.
        return True
    if body.kind == "restriction":
        # A restriction lets no mail skip the review, and desks write theirs here
        # automatically.
        return settings.GATEWAY_APPROVAL_CODES == "1"
    bypass = _list_of(box, Allowlist.Kind.BYPASS)
    # As for single entries and the mode: switching to enforce needs a code, and each
    # entry that is new or lasts longer.
    if body.mode == "enforce" and bypass.mode != body.mode:
        return True
    expiries = dict(_live_entries(bypass).values_list("pattern", "expires_at"))
    for entry in body.entries:
        expires_at = expiries.get(entry.pattern)
        if entry.pattern not in expiries or (
            expires_at and (entry.expires_at is None or entry.expires_at > expires_at)
        ):
            return True
    return None


@router.get(
    "/refusals",
    auth=BearerKey(Scope.ADMIN, Scope.OVERSIGHT, Scope.OVERSIGHT_READ),
    response=Refusals,
)
def list_refusals(request: KeyedRequest, filters: Query[PageFilters]) -> Json:
    """List messages that were refused because of a recipient, newest first."""
    return page_of(
        Refusal.objects.visible_to(request.auth).select_related("mailbox", "key"),
        "refusals",
        lambda refusal: {
            "id": refusal.pk,
            **allowlists.facts_of(refusal),
            "created_at": iso(refusal.created_at),
        },
        filters,
    )


def _list_of(box: Mailbox, kind: str) -> Allowlist:
    """Return the list of this kind of the mailbox, not saved if it was never
    written.
    """
    return Allowlist.objects.filter(mailbox=box, kind=kind).first() or Allowlist(
        mailbox=box, kind=kind
    )


def _live_entries(allowlist: Allowlist) -> AllowlistEntryQuerySet:
    return AllowlistEntry.objects.filter(allowlist_id=allowlist.pk).live()


def _status_json(bypass: Allowlist, box: Mailbox, recipient: str | None = None) -> Json:
    live = _live_entries(bypass)
    listed = None
    if recipient:
        listed = live.filter(pattern__in=patterns_for(recipient)).exists()
    return {
        "mailbox_id": box.pk,
        "mode": bypass.mode,
        "count": live.count(),
        "notice": _why_without_effect(bypass, box),
        "updated_at": iso(bypass.updated_at),
        "recipient": recipient,
        "listed": listed,
    }


def _why_without_effect(bypass: Allowlist, box: Mailbox) -> str | None:
    """Return why the entries of a bypass have no effect now, or None."""
    if bypass.mode != Allowlist.Mode.ENFORCE:
        return (
            f"The mode of the list is {bypass.mode}: no message skips the review because of it. "
            f"PUT /v1/mailboxes/{box.address}/allowlist/mode asks an operator for enforce."
        )
    if box.oversight_mode != Mode.GATED_SEND:
        return f"The list has an effect in gated_send only, and the mailbox is {box.oversight_mode}."
    return None


def _allowlist_json(allowlist: Allowlist) -> Json:
    entries = allowlist.entries.order_by("pattern") if allowlist.pk else ()
    box = allowlist.mailbox
    notice = None
    copies = clean_addresses(box.auto_cc) + clean_addresses(box.auto_bcc)
    if outsiders := allowlists.judge(box, copies).outsiders:
        notice = f"The mailbox copies everything to {outsiders[0]}, who is not on its list: all mail is refused."
    return {
        "mailbox_id": allowlist.mailbox_id,
        "mailbox": box.address,
        "kind": allowlist.kind,
        "mode": allowlist.mode,
        "version": allowlist.version,
        "entries": [AllowlistEntryAnswer.of(entry) for entry in entries],
        "notice": notice,
        "updated_at": iso(allowlist.updated_at),
    }
