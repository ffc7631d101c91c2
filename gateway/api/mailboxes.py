"""Mailboxes: reading, making, changing and deleting them."""

from typing import Annotated, Any, Self

from django.http import JsonResponse
from ninja import Router
from pydantic import AliasPath, BeforeValidator, Field, model_validator

from gateway.accounts import mailboxes
from gateway.api.answers import Answer, Changed, OrNone, PendingApproval
from gateway.api.bodies import (
    Addresses,
    Body,
    Confirmable,
    ConfirmIn,
    MailboxName,
    ModeWord,
    ShortLine,
    ShortText,
    TimingWord,
    example,
)
from gateway.auth import ADMIN, READ, KeyedRequest
from gateway.errors import BadRequest
from gateway.lookups import mailbox_named
from gateway.messages import decisions
from gateway.models import ApiKey, Mailbox
from gateway.timestamps import epoch_milliseconds

_ADDITIONS = ("auto_cc", "auto_bcc")
_TEXTS = ("display_name", "signature_block")
MAX_ADDITIONS = 2000


class MailboxSettings(Body):
    """Settings of a mailbox. Null clears a text, and leaves anything else as it is."""

    display_name: ShortLine | None = None
    oversight_mode: ModeWord | None = None
    auto_cc: Addresses = Field(default_factory=list)
    auto_bcc: Addresses = Field(default_factory=list)
    signature_block: ShortText | None = None
    # 0 and 1 are taken as well.
    forward_inbound: bool | None = None
    commercial: bool | None = None
    # No setting any more: clients of MultiMail before 0.13 send it.
    ai_disclosure: bool | None = None
    simplify_html: bool | None = None
    mcp_configured: bool | None = None
    scheduling_enabled: bool | None = None
    allow_looser_per_call: bool | None = None
    require_fingerprint: bool | None = None
    default_gate_timing: TimingWord | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ai_disclosure is False:
            raise BadRequest(
                "ai_disclosure: cannot be switched off. All mail that agents send says that an AI agent wrote it.",
                code="ai_disclosure_required",
                field="ai_disclosure",
            )
        for name in _ADDITIONS:
            if len(", ".join(getattr(self, name))) > MAX_ADDITIONS:
                raise ValueError(f"{name}: at most {MAX_ADDITIONS} characters in all.")
        return self

    def changes(self) -> dict[str, Any]:
        """Return the fields of a mailbox that are to change, and to what; without the
        oversight mode.
        """
        settings = set(MailboxSettings.model_fields) - {
            "oversight_mode",
            "ai_disclosure",
        }
        values = self.model_dump(include=settings, exclude_unset=True)
        for name in _ADDITIONS:
            if name in values:
                values[name] = ", ".join(values[name])
        for name in _TEXTS:
            if name in values:
                values[name] = values[name] or ""
        return {name: value for name, value in values.items() if value is not None}


class MailboxIn(MailboxSettings, Confirmable):
    """A mailbox to make: a whole address, or the part before the @ of the account's own
    domain.
    """

    model_config = example(
        {"address_local": "outreach", "display_name": "Outreach", "auto_cc": None}
    )

    address: MailboxName | None = None
    address_local: Annotated[str, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if not self.wanted():
            raise ValueError("address: give the mailbox an address.")
        return self

    def wanted(self) -> str:
        """Return the address, or its local part."""
        return (self.address or self.address_local or "").strip()


class MailboxPatch(MailboxSettings, Confirmable):
    """What to change about a mailbox."""

    model_config = example(
        {"display_name": "Support", "signature_block": "The support team"}
    )


class MailboxAnswer(Answer):
    """One mailbox; switches are 0 and 1."""

    id: str
    tenant_id: str = Field(validation_alias="account_id")
    address: str
    display_name: str
    oversight_mode: str
    allow_looser_per_call: bool
    require_fingerprint: bool
    account_requires_fingerprint: bool = Field(
        validation_alias=AliasPath("account", "require_fingerprint")
    )
    auto_cc: Annotated[str | None, OrNone]
    auto_bcc: Annotated[str | None, OrNone]
    signature_block: Annotated[str | None, OrNone]
    default_gate_timing: str
    scheduling_enabled: int
    mcp_configured: int
    forward_inbound: int
    commercial: int
    ai_disclosure: int = 1
    simplify_html: int
    webhook_url: None = None
    oversight_webhook_url: None = None
    is_active: int
    created_at: Annotated[int, BeforeValidator(epoch_milliseconds)]


class MailboxChanged(MailboxAnswer):
    """One mailbox, changed."""

    status: str


class Mailboxes(Answer):
    """All mailboxes of a key."""

    mailboxes: list[MailboxAnswer]


router = Router(tags=["account"])
MADE: dict[int, Any] = {201: MailboxAnswer, 202: PendingApproval}


@router.get("/mailboxes", auth=READ, response=Mailboxes)
def list_mailboxes(request: KeyedRequest) -> JsonResponse:
    """List the mailboxes that the key may use."""
    rows = (
        Mailbox.objects.visible_to(request.auth)
        .select_related("account")
        .order_by("id")
    )
    return JsonResponse({"mailboxes": [MailboxAnswer.of(mailbox) for mailbox in rows]})


@router.get("/mailboxes/{mailbox}", auth=READ, response=MailboxAnswer)
def read_mailbox(request: KeyedRequest, mailbox: str) -> JsonResponse:
    """Read one mailbox."""
    return JsonResponse(MailboxAnswer.of(mailbox_named(request.auth, mailbox)))


@router.post("/mailboxes", auth=ADMIN, response=MADE)
def create_mailbox(request: KeyedRequest, body: MailboxIn) -> JsonResponse:
    """Make a mailbox. A mode looser than gated_send is not taken; the answer shows the
    real one.
    """
    with body.confirmed(
        request.auth,
        "create_mailbox",
        summary=f"Create the mailbox {body.wanted()}",
        needed=_loosens_own_oversight(request.auth, body) or None,
    ):
        made = mailboxes.create_mailbox(
            key=request.auth,
            wanted=body.wanted(),
            mode=body.oversight_mode,
            settings=body.changes(),
        )
    return JsonResponse(MailboxAnswer.of(made), status=201)


@router.patch(
    "/mailboxes/{mailbox}",
    auth=ADMIN,
    response={200: MailboxChanged, 202: PendingApproval},
)
def update_mailbox(
    request: KeyedRequest, mailbox: str, body: MailboxPatch
) -> JsonResponse:
    """Change a mailbox. A stricter oversight mode is taken, a looser one needs
    request-upgrade and a code.

    Switching `require_fingerprint` off takes an operator's code.
    """
    found = mailbox_named(request.auth, mailbox)
    with body.confirmed(
        request.auth,
        "update_mailbox",
        summary=f"Change {found.address}: {', '.join(f'{k}={v}' for k, v in sorted(body.changes().items()))}",
        needed=_loosens_own_oversight(request.auth, body)
        or (found.require_fingerprint and body.require_fingerprint is False),
        id=found.pk,
    ):
        changed = mailboxes.change_mailbox(
            key=request.auth,
            mailbox=found,
            mode=body.oversight_mode,
            changes=body.changes(),
        )
    return JsonResponse(MailboxAnswer.of(changed) | {"status": "updated"})


@router.patch(
    "/mailboxes/{mailbox}/configure",
    auth=ADMIN,
    response={200: MailboxChanged, 202: PendingApproval},
)
def configure_mailbox(
    request: KeyedRequest, mailbox: str, body: MailboxPatch
) -> JsonResponse:
    """Change a mailbox, as MCP clients call it."""
    return update_mailbox(request, mailbox, body)


@router.delete(
    "/mailboxes/{mailbox}", auth=ADMIN, response={200: Changed, 202: PendingApproval}
)
def delete_mailbox(
    request: KeyedRequest,
    mailbox: str,
    body: ConfirmIn = ConfirmIn(),  # noqa: B008
    approval_code: str = "",
) -> JsonResponse:
    """Delete a mailbox. What waits in it is cancelled, and its address is never given
    out again.
    """
    found = mailbox_named(request.auth, mailbox)
    with body.confirmed(
        request.auth,
        "delete_mailbox",
        summary=f"Delete the mailbox {found.address}",
        code=approval_code,
        id=found.pk,
    ):
        mailboxes.delete_mailbox(key=request.auth, mailbox=found)
    decisions.cancel_in_closed_mailboxes(key=request.auth)
    return JsonResponse({"id": found.pk, "status": "deleted"})


def _loosens_own_oversight(key: ApiKey, body: MailboxSettings) -> bool:
    """Whether a key would free calls like its own from oversight; that takes a person,
    whatever the setting.
    """
    # Nor may a sandbox key add somebody who gets live mail.
    adds = key.sandbox and bool(body.auto_cc or body.auto_bcc)
    loosens = bool(body.allow_looser_per_call) or body.simplify_html is False
    return adds or (key.has_conflict_of_interest() and loosens)
