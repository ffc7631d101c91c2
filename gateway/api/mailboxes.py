"""Routes of mailboxes (reading, making, changing and deleting them) and of domains,
with their records in DNS.
"""

from typing import Annotated, Any, Self

from annotated_types import MaxLen
from django.http import JsonResponse
from ninja import Query, Router
from pydantic import AfterValidator, AliasPath, Field, model_validator

from common.unique_keys import Json
from gateway import domains, mailboxes
from gateway.api.answers import (
    CONFIRMABLE,
    Answer,
    Changed,
    Epoch,
    Iso,
    LongPageFilters,
    Page,
    PendingApproval,
    TextOrNone,
    page_of,
)
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
    without_nulls,
)
from gateway.auth import ADMIN, READ, KeyedRequest
from gateway.domains import DMARC, MX, OWNERSHIP, SPF, clean_domain, records_of
from gateway.errors import BadRequest
from gateway.lookups import check_unlimited, first_or_404, mailbox_named
from gateway.messages import decisions
from gateway.models import ApiKey, Domain, Mailbox

_ADDITIONS = ("auto_cc", "auto_bcc")
# Characters of all addresses of one field.
MAX_ADDITIONS = 2000


class MailboxSettings(Body):
    """Settings of a mailbox. Null clears a text, and leaves anything else as it is."""

    display_name: ShortLine | None = None
    oversight_mode: ModeWord | None = None
    auto_cc: Addresses = Field(default_factory=list)
    auto_bcc: Addresses = Field(default_factory=list)
    signature_block: ShortText | None = None
    # 0 and 1 are accepted as well.
    forward_inbound: bool | None = None
    commercial: bool | None = None
    # Always on. Clients of MultiMail before 0.13 still send it.
    ai_disclosure: bool | None = None
    mcp_configured: bool | None = None
    scheduling_enabled: bool | None = None
    allow_looser_per_call: bool | None = None
    require_fingerprint: bool | None = None
    send_as_designed: bool | None = Field(
        None, description="Send `html` as it was handed in, not in its simple form."
    )
    default_gate_timing: TimingWord | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ai_disclosure is False:
            raise BadRequest(
                "ai_disclosure: cannot be switched off. All mail that agents send says that an AI agent wrote it.",
                code="ai_disclosure_required",
            )
        for name in _ADDITIONS:
            if len(", ".join(getattr(self, name))) > MAX_ADDITIONS:
                raise ValueError(f"{name}: at most {MAX_ADDITIONS} characters in all.")
        return self

    def changes(self) -> Json:
        """Return the fields of a mailbox to change, with their new values; not the
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
        return without_nulls(values, "display_name", "signature_block")


class MailboxIn(MailboxSettings, Confirmable):
    """A mailbox to make: its whole address, or the part before the @ under the
    account's own domain.
    """

    model_config = example(
        {"address_local": "outreach", "display_name": "Outreach", "auto_cc": None}
    )

    address: MailboxName | None = None
    address_local: Annotated[str, MaxLen(64)] | None = None

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if not self.wanted():
            raise ValueError("address: give the mailbox an address.")
        return self

    def wanted(self) -> str:
        """Return the address, or the part of it that was given."""
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
    send_as_designed: bool
    account_requires_fingerprint: bool = Field(
        validation_alias=AliasPath("account", "require_fingerprint")
    )
    auto_cc: TextOrNone
    auto_bcc: TextOrNone
    signature_block: TextOrNone
    default_gate_timing: str
    scheduling_enabled: int
    mcp_configured: int
    forward_inbound: int
    commercial: int
    ai_disclosure: int = 1
    webhook_url: None = None
    oversight_webhook_url: None = None
    is_active: int
    created_at: Epoch


class Mailboxes(Page):
    """A page of the mailboxes of a key."""

    mailboxes: list[MailboxAnswer]


router = Router(tags=["account"], auth=ADMIN)
MADE: dict[int, Any] = {201: MailboxAnswer, 202: PendingApproval}
_CHANGED = {200: MailboxAnswer, 202: PendingApproval}


@router.get("/mailboxes", auth=READ, response=Mailboxes)
def list_mailboxes(request: KeyedRequest, filters: Query[LongPageFilters]) -> Json:
    """List the mailboxes that the key may use, oldest first."""
    rows = Mailbox.objects.visible_to(request.auth).select_related("account")
    return page_of(rows, "mailboxes", MailboxAnswer.of, filters, oldest_first=True)


@router.get("/mailboxes/{mailbox}", auth=READ, response=MailboxAnswer)
def read_mailbox(request: KeyedRequest, mailbox: str) -> Json:
    """Read one mailbox."""
    return MailboxAnswer.of(mailbox_named(request.auth, mailbox))


@router.post("/mailboxes", response=MADE)
def create_mailbox(request: KeyedRequest, body: MailboxIn) -> JsonResponse:
    """Make a mailbox. A mode looser than gated_send is not accepted; the answer shows
    the mode that it got.
    """
    with body.confirmed(
        request.auth,
        "create_mailbox",
        f"Create the mailbox {body.wanted()}{_in_words(body.changes())}",
        needed=_loosens_own_oversight(request.auth, body) or None,
    ):
        made = mailboxes.create_mailbox(
            request.auth,
            wanted=body.wanted(),
            mode=body.oversight_mode,
            settings=body.changes(),
        )
    return JsonResponse(MailboxAnswer.of(made), status=201)


@router.patch("/mailboxes/{mailbox}", response=_CHANGED)
def update_mailbox(request: KeyedRequest, mailbox: str, body: MailboxPatch) -> Json:
    """Change a mailbox. A stricter oversight mode is accepted; a looser one needs
    request-upgrade and a code.

    Switching `require_fingerprint` off takes an operator's code.
    """
    key = request.auth
    box = mailbox_named(key, mailbox)
    with body.confirmed(
        key,
        "update_mailbox",
        f"Change {box.address}{_in_words(body.changes())}",
        needed=_loosens_own_oversight(key, body)
        or (box.require_fingerprint and body.require_fingerprint is False),
        id=box.pk,
    ):
        changed = mailboxes.change_mailbox(
            key, box, body.oversight_mode, body.changes()
        )
    return MailboxAnswer.of(changed) | {"status": "updated"}


@router.patch("/mailboxes/{mailbox}/configure", response=_CHANGED)
def configure_mailbox(request: KeyedRequest, mailbox: str, body: MailboxPatch) -> Json:
    """Change a mailbox, on the path that MCP clients call."""
    return update_mailbox(request, mailbox, body)


@router.delete("/mailboxes/{mailbox}", response=CONFIRMABLE)
def delete_mailbox(
    request: KeyedRequest,
    mailbox: str,
    body: ConfirmIn = ConfirmIn(),  # noqa: B008
    approval_code: str = "",
) -> Json:
    """Delete a mailbox. What waits in it is cancelled, and its address is never given
    out again.
    """
    key = request.auth
    box = mailbox_named(key, mailbox)
    with body.confirmed(
        key,
        "delete_mailbox",
        f"Delete the mailbox {box.address}",
        code=approval_code,
        id=box.pk,
    ):
        mailboxes.delete_mailbox(key, box)
    decisions.cancel_in_closed_mailboxes(key)
    return {"id": box.pk, "status": "deleted"}


def _loosens_own_oversight(key: ApiKey, body: MailboxSettings) -> bool:
    """Whether the key would free its own mail from oversight by this change. A person
    has to confirm that, whatever the operator's setting is.
    """
    # A sandbox key must not add somebody who gets copies of live mail, either.
    adds = key.sandbox and bool(body.auto_cc or body.auto_bcc)
    loosens = body.allow_looser_per_call or body.send_as_designed
    return adds or (key.has_conflict_of_interest() and bool(loosens))


class DomainIn(Body):
    """A domain to claim."""

    model_config = example({"domain": "mail.example.com"})

    domain: Annotated[str, AfterValidator(clean_domain), MaxLen(300)]


class DnsRecord(Answer):
    """One record to put into DNS."""

    type: str
    name: str
    value: str
    purpose: str
    verified: bool
    problem: str | None


class DomainFacts(Answer):
    """What is stored about a domain."""

    id: str
    domain: str
    status: str
    created_at: Iso
    verified_at: Iso | None
    looked_at: Iso | None


class DomainAnswer(DomainFacts):
    """One domain, with its records."""

    dkim_verified: bool
    spf_verified: bool
    dmarc_verified: bool
    mx_verified: bool
    return_path_verified: bool
    dns_records: list[DnsRecord]


class Domains(Page):
    """A page of the domains of the account."""

    domains: list[DomainAnswer]


def domain_json(row: Domain) -> Json:
    """Return a domain with its records, and for each what was wrong when DNS was last
    asked.
    """
    records = []
    for record in records_of(row):
        is_proved = record.key == OWNERSHIP and row.status == Domain.Status.ACTIVE
        record_json = {
            "type": record.type,
            "name": record.name,
            "value": record.value,
            "purpose": record.purpose,
            "verified": row.is_right(record.key) or is_proved,
            "problem": row.dns_problems.get(record.key) or None,
        }
        if record.type == "MX":
            record_json["priority"] = 10
        records.append(record_json)
    return DomainFacts.of(row) | {
        "dkim_verified": row.dkim_verified_at is not None,
        "spf_verified": row.is_right(SPF),
        "dmarc_verified": row.is_right(DMARC),
        "mx_verified": row.is_right(MX),
        # The envelope sender is an address of the domain, so its SPF record counts here
        # too.
        "return_path_verified": row.is_right(SPF),
        "dns_records": records,
    }


@router.get("/domains", response=Domains)
def list_domains(request: KeyedRequest, filters: Query[LongPageFilters]) -> Json:
    """List the account's domains, oldest first."""
    check_unlimited(request.auth)
    rows = Domain.objects.visible_to(request.auth)
    return page_of(rows, "domains", domain_json, filters, oldest_first=True)


@router.post("/domains", response={201: DomainAnswer})
def create_domain(request: KeyedRequest, body: DomainIn) -> JsonResponse:
    """Claim a domain. It is pending until `dns_records` are set and it is verified."""
    made = domains.add_domain(request.auth, body.domain)
    return JsonResponse(domain_json(made), status=201)


@router.get("/domains/{domain_id}", response=DomainAnswer)
def read_domain(request: KeyedRequest, domain_id: str) -> Json:
    """Read one domain."""
    return domain_json(_domain_named(request, domain_id))


@router.post("/domains/{domain_id}/verify", response=DomainAnswer)
def verify_domain(request: KeyedRequest, domain_id: str) -> Json:
    """Look each of `dns_records` up in DNS. `status` says whether the proof was found,
    `problem` what is wrong.
    """
    domain = _domain_named(request, domain_id)
    message = domains.verify_domain(request.auth, domain)
    return domain_json(domain) | {"message": message}


@router.post("/domains/{domain_id}/rotate-dkim", response=DomainAnswer)
def rotate_dkim(request: KeyedRequest, domain_id: str) -> Json:
    """Make the next DKIM key. The one in use signs until the next is in DNS and the
    domain is verified again.
    """
    domain = _domain_named(request, domain_id)
    return domain_json(domains.rotate_key(request.auth, domain))


@router.delete("/domains/{domain_id}", response=Changed)
def delete_domain(request: KeyedRequest, domain_id: str) -> Json:
    """Give a domain back. 409 while it has mailboxes."""
    domains.remove_domain(request.auth, _domain_named(request, domain_id))
    return {"id": domain_id, "status": "deleted"}


def _domain_named(request: KeyedRequest, domain_id: str) -> Domain:
    check_unlimited(request.auth)
    domains = Domain.objects.visible_to(request.auth)
    return first_or_404(domains.filter(pk=domain_id), "domain")


def _in_words(changes: Json) -> str:
    """Return changed settings for the person who has to confirm them. What loosens
    oversight comes first, because a summary is cut after 300 characters.
    """
    first = ("allow_looser_per_call", "require_fingerprint", "send_as_designed")
    names = sorted(changes, key=lambda name: (name not in first, name))
    words = ", ".join(f"{name}={changes[name]}" for name in names)
    return f": {words}" if words else ""
