"""Mailboxes: reading, making, changing and deleting them."""

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from gateway import closing, mailboxes
from gateway.account_shapes import mailbox_facts
from gateway.answers.accounts import MailboxAnswer, MailboxChanged, Mailboxes, PendingApproval
from gateway.answers.base import Changed, answer, documented
from gateway.auth import KeyedRequest, needs
from gateway.confirmations import confirmed
from gateway.lookups import mailbox_named
from gateway.models import ApiKey, Mailbox
from gateway.models.accounts import Scope
from gateway.schemas.mailboxes import MailboxIn, MailboxPatch, MailboxSettings

router = Router(tags=["account"])

MADE = documented(MailboxAnswer, status=201) | {202: PendingApproval}


@router.get("/mailboxes", auth=needs(Scope.READ), response=documented(Mailboxes))
def list_mailboxes(request: KeyedRequest) -> HttpResponse:
    """List the mailboxes that the key may use."""
    rows = Mailbox.objects.visible_to(request.auth).order_by("id")
    return answer({"mailboxes": [mailbox_facts(mailbox) for mailbox in rows]})


@router.get("/mailboxes/{mailbox}", auth=needs(Scope.READ), response=documented(MailboxAnswer))
def read_mailbox(request: KeyedRequest, mailbox: str) -> HttpResponse:
    """Read one mailbox."""
    return answer(mailbox_facts(mailbox_named(request.auth, mailbox)))


@router.post("/mailboxes", auth=needs(Scope.ADMIN), response=MADE)
def create_mailbox(request: KeyedRequest, body: MailboxIn) -> HttpResponse:
    """Make a mailbox. A mode looser than gated_send is not taken; the answer shows the real one."""
    asked = confirmed(
        key=request.auth,
        action="create_mailbox",
        what=body.act(),
        summary=f"Make the mailbox {body.wanted()}",
        code=body.approval_code,
        now=timezone.now(),
        needed=_lets_itself_loose(request.auth, body) or None,
    )
    with asked:
        made = mailboxes.create_mailbox(
            key=request.auth, wanted=body.wanted(), mode=body.oversight_mode, settings=body.changes()
        )
    return answer(mailbox_facts(made), status=201)


@router.patch(
    "/mailboxes/{mailbox}", auth=needs(Scope.ADMIN), response=documented(MailboxChanged) | {202: PendingApproval}
)
def update_mailbox(request: KeyedRequest, mailbox: str, body: MailboxPatch) -> HttpResponse:
    """Change a mailbox. A stricter oversight mode is taken, a looser one needs request-upgrade and a code."""
    found, now = mailbox_named(request.auth, mailbox), timezone.now()
    asked = confirmed(
        key=request.auth,
        action="update_mailbox",
        what={"id": found.pk, **body.act()},
        summary=f"Change {found.address}: {', '.join(f'{k}={v}' for k, v in sorted(body.changes().items()))}",
        code=body.approval_code,
        now=now,
        needed=_lets_itself_loose(request.auth, body),
    )
    with asked:
        changed = mailboxes.change_mailbox(
            key=request.auth, mailbox=found, mode=body.oversight_mode, changes=body.changes(), now=now
        )
    return answer(mailbox_facts(changed) | {"status": "updated"})


@router.patch(
    "/mailboxes/{mailbox}/configure",
    auth=needs(Scope.ADMIN),
    response=documented(MailboxChanged) | {202: PendingApproval},
)
def configure_mailbox(request: KeyedRequest, mailbox: str, body: MailboxPatch) -> HttpResponse:
    """Change a mailbox, as MCP clients call it."""
    return update_mailbox(request, mailbox, body)


@router.delete("/mailboxes/{mailbox}", auth=needs(Scope.ADMIN), response=documented(Changed))
def delete_mailbox(request: KeyedRequest, mailbox: str) -> HttpResponse:
    """Delete a mailbox. What waits in it is cancelled, and its address is never given out again."""
    found = mailbox_named(request.auth, mailbox)
    mailboxes.delete_mailbox(key=request.auth, mailbox=found)
    closing.cancel_left_behind(key=request.auth, now=timezone.now())
    return answer({"id": found.pk, "status": "deleted"})


def _lets_itself_loose(key: ApiKey, body: MailboxSettings) -> bool:
    """Whether a key would free calls like its own from oversight; that takes a person, whatever the setting."""
    # Nor may a sandbox key add somebody who gets live mail.
    adds = key.sandbox and bool(body.auto_cc or body.auto_bcc)
    return adds or (key.is_party() and bool(body.allow_looser_per_call))
