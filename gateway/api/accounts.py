"""Routes of the account: reading, changing and deleting it, reporting a problem, its
usage, its audit log, and its API keys.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from annotated_types import Len, MaxLen
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from ninja import Query, Router
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    model_validator,
)

from common.ascii import lowered, trimmed
from common.unique_keys import Json
from gateway import accounts, auditing
from gateway.api.answers import (
    BY_OPERATOR,
    CONFIRMABLE,
    Answer,
    Changed,
    Iso,
    LongPageFilters,
    OrNone,
    Page,
    PageFilters,
    PendingApproval,
    Problem,
    clamp,
    not_offered,
    page_of,
)
from gateway.api.bodies import (
    Confirmable,
    ConfirmIn,
    Line,
    Lower,
    MailboxName,
    Metadata,
    Moment,
    OptionalAddress,
    example,
    without_nulls,
)
from gateway.auth import ADMIN, ANY_KEY, READ, KeyedRequest
from gateway.limits import emails_sent_this_month, start_of_month, usage_by_day
from gateway.lookups import check_unlimited
from gateway.messages import decisions
from gateway.models import Account, ApiKey, AuditLogEntry, Email, Mailbox, Scope
from gateway.states import Mode, is_looser
from gateway.timestamps import epoch_milliseconds, iso

MAX_DAYS = 366
# The last millisecond of the year 9998, in milliseconds since 1970: calculating with it
# stays within the dates that Python can hold.
_LATEST = 253_370_764_799_999


class AccountPatch(Confirmable):
    """What to change. Null clears `oversight_email` and `physical_address`."""

    model_config = example({"name": "Acme", "oversight_email": "boss@example.com"})

    name: Annotated[Line, Len(1, 200)] | None = None
    oversight_email: OptionalAddress = None
    physical_address: Annotated[str, MaxLen(300)] | None = None
    hold_all: bool | None = None
    require_fingerprint: bool | None = None
    # Empty: any mode.
    minimum_oversight_mode: Mode | Literal[""] | None = None

    def changes(self) -> Json:
        """Return the fields of the account to change, with their new values."""
        values = self.model_dump(
            exclude={"hold_all", "approval_code"}, exclude_unset=True
        )
        return without_nulls(values, "oversight_email", "physical_address")


class FeedbackIn(RootModel[Metadata]):
    """What a client reports of the API: any object."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"description": "list_pending is slow"}}
    )


_Breakdown = Annotated[Literal["summary", "daily"] | None, OrNone, Lower]
_Milliseconds = Annotated[Annotated[int, clamp(0, _LATEST)] | None, OrNone]


class UsageFilters(BaseModel):
    """Which period, and whether by day. MCP clients say `period`, others
    `breakdown`.
    """

    period: _Breakdown = None
    breakdown: _Breakdown = None
    begin: _Milliseconds = Field(
        None, alias="from", description="Milliseconds since 1970; default: this month."
    )
    end: _Milliseconds = Field(
        None, alias="to", description="Milliseconds since 1970; default: now."
    )

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if self.begin is not None and self.end is not None and self.end < self.begin:
            raise ValueError("to: is before from.")
        return self

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return begin and end of the period: this month so far if nothing is given,
        and never longer than MAX_DAYS.
        """
        end = now if self.end is None else datetime.fromtimestamp(self.end / 1000, UTC)
        if self.begin is None:
            return start_of_month(end), end
        begin = datetime.fromtimestamp(self.begin / 1000, UTC)
        return max(min(begin, end), end - timedelta(days=MAX_DAYS)), end


class AccountAnswer(Answer):
    """The account, and what the calling key may do."""

    id: str
    scopes: list[str]
    # Whether the key is limited to these mailboxes.
    limited: bool
    mailboxes: list[Json]
    cursor: str | None


class UsageOfDay(Answer):
    """What happened on one day (UTC)."""

    date: str
    emails_sent: int
    emails_received: int
    api_calls: int
    oversight_actions: int


class Usage(Answer):
    """What happened in a period; with `breakdown`, also day by day under `data`."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    begin: int = Field(alias="from")
    end: int = Field(alias="to")
    emails_sent: int
    emails_received: int
    api_calls: int
    oversight_actions: int
    plan: str
    monthly_email_quota: int | None
    max_mailboxes: int | None
    storage_used_bytes: int
    max_storage_bytes: int | None
    breakdown: str | None = None
    data: list[UsageOfDay] | None = None


class AuditEntry(Answer):
    """One act."""

    id: str
    action: str
    resource_type: str
    resource_id: str
    actor_key_id: str | None
    metadata: Json
    created_at: Iso


class AuditFilters(PageFilters):
    """The parameters of the audit log."""

    limit: Annotated[int, clamp(1, 500, 100)] = 100


class AuditLog(Page):
    """A page of the audit log."""

    entries: list[AuditEntry]


def account_json(account: Account) -> Json:
    """Return an account under the names that all clients read: at the top level, and
    once more under `account`.
    """
    sent = emails_sent_this_month(account, timezone.now())
    quota = account.monthly_email_quota
    facts = {
        "id": account.pk,
        "name": account.name,
        "slug": account.slug,
        "username": account.slug,
        # Nothing is enforced here by how mail was received: limits are the operator's.
        "enforcement_tier": "none",
        "sending_enabled": account.is_active,
        "oversight_email": account.oversight_email or None,
        "physical_address": account.physical_address or None,
        "is_active": account.is_active,
        "hold_all": account.hold_all_at is not None,
        "require_fingerprint": account.require_fingerprint,
        "minimum_oversight_mode": account.minimum_oversight_mode or None,
        "hold_all_at": iso(account.hold_all_at),
        "sending_disabled": False,
        "sending_disabled_reason": None,
        "created_at": epoch_milliseconds(account.created_at),
        "emails_sent_this_month": sent,
        "emails_remaining_this_month": None if quota is None else max(0, quota - sent),
        **_plan(account),
    }
    return facts | {"account": facts}


def _plan(account: Account) -> Json:
    """Return the limits of the account, and its use of storage. None: no limit."""
    return {
        "plan": "self-hosted",
        "monthly_email_quota": account.monthly_email_quota,
        "max_mailboxes": account.max_mailboxes,
        "storage_used_bytes": Email.objects.attached_bytes(account.pk),
        "max_storage_bytes": None,
    }


router = Router(tags=["account"], auth=ADMIN)


@router.get("/account", auth=ANY_KEY, response=AccountAnswer)
def read_account(request: KeyedRequest) -> Json:
    """Read the account. A key without `read` gets only the account's id, its own scopes
    and its mailboxes, and whether it is limited to these.

    `mailboxes` has the first 1,000, and `cursor` is that of the others in
    `GET /v1/mailboxes`.
    """
    key = request.auth
    facts = account_json(key.account) if key.may(Scope.READ) else {}
    mailboxes = page_of(
        Mailbox.objects.visible_to(key),
        "mailboxes",
        lambda mailbox: {
            "id": mailbox.pk,
            "address": mailbox.address,
            "oversight_mode": mailbox.oversight_mode,
        },
        LongPageFilters(),
        oldest_first=True,
    )
    return facts | {
        "id": key.account_id,
        "scopes": key.scopes,
        "limited": bool(key.mailbox_ids),
        **mailboxes,
    }


@router.post("/account", auth=None, response={501: Problem})
def sign_up(request: HttpRequest) -> JsonResponse:
    """Accounts are created by the operator of the gateway."""
    return not_offered(request, instead=BY_OPERATOR)


@router.post("/feedback", auth=ANY_KEY, response={201: Changed})
def report_issue(request: KeyedRequest, body: FeedbackIn) -> JsonResponse:
    """Report a problem of the API. It is stored in the account's audit log."""
    key = request.auth
    auditing.record("feedback.received", key, key, report=body.root)
    return JsonResponse({"id": key.pk, "status": "received"}, status=201)


@router.patch("/account", response=CONFIRMABLE)
def update_account(request: KeyedRequest, body: AccountPatch) -> Json:
    """Change the account. While `hold_all` is true, only messages that were approved
    after it was set are sent.

    A key that also sends, or a sandbox key, needs an operator's code to switch
    `hold_all` off; every key needs one to change the oversight address, to switch
    `require_fingerprint` off and to lower `minimum_oversight_mode`.
    """
    key = request.auth
    check_unlimited(key)
    acts = []
    # Whether the change needs a code, whatever the operator's setting is.
    loosens = False
    account = key.account
    changes = body.changes()
    if body.hold_all is False:
        acts.append("Stop holding all mail (hold_all)")
        loosens = account.hold_all_at is not None and key.has_conflict_of_interest()
    if body.require_fingerprint is False:
        acts.append("Take decisions without a fingerprint")
        loosens |= account.require_fingerprint
    if (mode := body.minimum_oversight_mode) is not None:
        acts.append(f"Set the minimum oversight mode to {mode or 'any'}")
        if minimum := account.minimum_oversight_mode:
            loosens |= not mode or is_looser(mode, minimum)
    if (overseer := changes.get("oversight_email")) is not None:
        acts.append(f"Make the oversight address {overseer or 'nobody'}")
        # From then on, codes, monitored mail and forwarded mail would go to another
        # address.
        loosens |= overseer != account.oversight_email
    with body.confirmed(
        key, "update_account", "; ".join(acts) or "Change the account", needed=loosens
    ):
        account = accounts.change_account(key, changes=changes, hold_all=body.hold_all)
    return account_json(account) | {"status": "updated"}


@router.delete("/account", response=CONFIRMABLE)
def delete_account(
    request: KeyedRequest,
    body: ConfirmIn = ConfirmIn(),  # noqa: B008 - never changed
    approval_code: str = "",
) -> Json:
    """Delete the account: nothing is sent any more, what waits is cancelled, and all
    its keys are refused.
    """
    key = request.auth
    check_unlimited(key)
    with body.confirmed(
        key,
        "delete_account",
        f"Delete the account {key.account.name}",
        code=approval_code,
    ):
        accounts.close_account(key)
    decisions.cancel_in_closed_mailboxes(key)
    return {"id": key.account_id, "status": "deleted"}


@router.get("/usage", tags=["usage"], auth=READ, response=Usage, by_alias=True)
def read_usage(request: KeyedRequest, filters: Query[UsageFilters]) -> Json:
    """Count mail, calls and decisions of a period: this month (UTC) if none is given;
    on request day by day.
    """
    begin, end = filters.bounds(timezone.now())
    days = usage_by_day(request.auth, begin=begin, end=end)
    total = Counter[str]()
    for counts in days.values():
        total.update(counts)
    result: Json = {
        "from": epoch_milliseconds(begin),
        "to": epoch_milliseconds(end),
        **total,
    }
    result |= _plan(request.auth.account)
    if "daily" in (filters.period, filters.breakdown):
        rows = [{"date": day.isoformat(), **counts} for day, counts in days.items()]
        result |= {"breakdown": "daily", "data": rows}
    return result


@router.get("/audit-log", response=AuditLog)
def list_audit_log(request: KeyedRequest, filters: Query[AuditFilters]) -> Json:
    """List what was done with which key, newest first."""
    rows = AuditLogEntry.objects.visible_to(request.auth)
    return page_of(rows, "entries", AuditEntry.of, filters)


_NAMES = ", ".join(Scope.values)


def known_scopes(scopes: list[str]) -> list[str]:
    """Return scopes as they are stored: in lower case, each once. Raises ValueError for
    an unknown scope, and for send and oversight together.
    """
    scopes = list(dict.fromkeys(lowered(trimmed(scope)) for scope in scopes))
    if unknown := [scope for scope in scopes if scope not in Scope.values]:
        raise ValueError(
            f"there is no scope {unknown[0][:40]!a}; the scopes are {_NAMES}."
        )
    if {Scope.SEND, Scope.OVERSIGHT} <= set(scopes):
        raise ValueError(
            "one key cannot have both send and oversight: it could approve its own mail. Create two."
        )
    return scopes


Scopes = Annotated[list[str], Len(1, 20), AfterValidator(known_scopes)]
MailboxNames = Annotated[list[MailboxName], Len(1, 100)]
KeyName = Annotated[Line, Len(1, 100)]


class KeyIn(Confirmable):
    """A key to make. Without `mailboxes` it can use all of them."""

    model_config = example(
        {"name": "Support bot", "scopes": ["read", "send", "oversight_read"]}
    )

    name: KeyName
    scopes: Scopes | None = None
    mailboxes: MailboxNames | None = None
    sandbox: bool | None = None
    # Null: never.
    expires_at: Moment | None = None


class KeyPatch(Confirmable):
    """What to change about a key. `mailboxes` null: all of them."""

    model_config = example({"name": "Support bot 2"})

    name: KeyName | None = None
    scopes: Scopes | None = None
    mailboxes: MailboxNames | None = None
    # While true, the key sends nothing.
    paused: bool | None = None

    def changes(self) -> Json:
        """Return the fields that were given; only `mailboxes` may be null."""
        fields = self.model_dump(exclude={"approval_code"}, exclude_unset=True)
        return {
            name: value
            for name, value in fields.items()
            if value is not None or name == "mailboxes"
        }


class KeyAnswer(Answer):
    """One key, without its secret text."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    # Null: all of them.
    mailboxes: Annotated[list[str] | None, OrNone] = Field(
        validation_alias="mailbox_ids"
    )
    sandbox: bool
    created_at: Iso
    last_used_at: Iso | None
    revoked_at: Iso | None
    expires_at: Iso | None
    paused_at: Iso | None
    is_active: bool


class KeyMade(KeyAnswer):
    """A new key, with its secret text, which is shown only here.

    `api_key` and `key` are the same: clients read either.
    """

    api_key: str
    key: str


class Keys(Page):
    """A page of keys, revoked ones too."""

    api_keys: list[KeyAnswer]


@router.get("/api-keys", response=Keys)
def list_keys(request: KeyedRequest, filters: Query[LongPageFilters]) -> Json:
    """List the account's keys, oldest first, revoked ones too; never their texts."""
    rows = ApiKey.objects.manageable_by(request.auth)
    return page_of(rows, "api_keys", KeyAnswer.of, filters, oldest_first=True)


@router.post("/api-keys", response={201: KeyMade, 202: PendingApproval})
def create_key(request: KeyedRequest, body: KeyIn) -> JsonResponse:
    """Make a key. Its secret text is in this answer and nowhere else.

    To make a key with the scope oversight takes an approval code from an operator. If
    the calling key can also send, so does a key with the scope admin.
    """
    key = request.auth
    scopes = body.scopes or [str(Scope.READ)]
    mailbox_names = ", ".join(body.mailboxes or ["all mailboxes"])
    with body.confirmed(
        key,
        "create_api_key",
        f"Create the API key {body.name} with {', '.join(scopes)} for {mailbox_names}",
        needed=accounts.needs_approval_code(key, scopes) or None,
    ):
        sandbox = key.sandbox if body.sandbox is None else body.sandbox
        made = ApiKey(
            name=body.name, scopes=scopes, sandbox=sandbox, expires_at=body.expires_at
        )
        text = accounts.create_key(key, made, body.mailboxes)
    return JsonResponse(KeyAnswer.of(made) | {"api_key": text, "key": text}, status=201)


@router.patch("/api-keys/{key_id}", response={200: KeyAnswer, 202: PendingApproval})
def update_key(request: KeyedRequest, key_id: str, body: KeyPatch) -> Json:
    """Change name, scopes or mailboxes, or pause a key: a paused key cannot send until
    it is resumed, but can still read.

    Giving a key the scope oversight takes an approval code from an operator. If the
    calling key can also send, so does giving a key admin without send, and resuming a
    paused key.
    """
    key = request.auth
    target = accounts.key_named(key, key_id)
    changes = body.changes()
    acts = [f"Change the API key {target.name}"]
    if changes.get("paused") is False:
        acts.append("resume it")
    if "scopes" in changes:
        acts.append(f"its scopes: {', '.join(changes['scopes'])}")
    if "mailboxes" in changes:
        acts.append(f"its mailboxes: {', '.join(changes['mailboxes'] or ['all'])}")
    with body.confirmed(
        key,
        "update_api_key",
        "; ".join(acts),
        needed=accounts.needs_approval_code(
            key, changes.get("scopes", ()), target.scopes
        )
        or (changes.get("paused") is False and key.has_conflict_of_interest()),
        id=target.pk,
    ):
        changed = accounts.change_key(key, changed=target, changes=changes)
    return KeyAnswer.of(changed) | {"status": "updated"}


@router.delete("/api-keys/{key_id}", response=CONFIRMABLE)
def revoke_key(
    request: KeyedRequest,
    key_id: str,
    body: ConfirmIn = ConfirmIn(),  # noqa: B008
    approval_code: str = "",
) -> Json:
    """Revoke a key at once."""
    revoked = accounts.key_named(request.auth, key_id)
    with body.confirmed(
        request.auth,
        "revoke_api_key",
        f"Revoke the API key {revoked.name}",
        code=approval_code,
        id=revoked.pk,
    ):
        accounts.revoke_key(request.auth, revoked=revoked)
    return {"id": revoked.pk, "status": "revoked"}
