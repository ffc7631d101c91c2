"""API keys: listing, making, changing and revoking them."""

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from gateway import keys
from gateway.account_shapes import key_facts
from gateway.answers.accounts import PendingApproval
from gateway.answers.base import Changed, answer, documented
from gateway.answers.keys import KeyChanged, KeyMade, Keys
from gateway.auth import KeyedRequest, needs
from gateway.confirmations import confirmed
from gateway.models import ApiKey
from gateway.models.accounts import Scope
from gateway.schemas.confirming import ConfirmIn
from gateway.schemas.keys import KeyIn, KeyPatch

router = Router(tags=["account"])


@router.get("/api-keys", auth=needs(Scope.ADMIN), response=documented(Keys))
def list_keys(request: KeyedRequest) -> HttpResponse:
    """List the account's keys, revoked ones too; never their texts."""
    rows = ApiKey.objects.kept_by(request.auth).order_by("id")
    return answer({"api_keys": [key_facts(key) for key in rows]})


@router.post("/api-keys", auth=needs(Scope.ADMIN), response=documented(KeyMade, status=201) | {202: PendingApproval})
def create_key(request: KeyedRequest, body: KeyIn) -> HttpResponse:
    """Make a key. Its text is in this answer and nowhere else.

    One that decides takes an operator's code; from a key that also sends, so does one that administers.
    """
    scopes = body.scopes or [str(Scope.READ)]
    asked = confirmed(
        key=request.auth,
        action="create_api_key",
        what=body.act(),
        summary=f"Make the API key {body.name} with {', '.join(scopes)} for {_reach(body.mailboxes)}",
        code=body.approval_code,
        now=timezone.now(),
        needed=keys.needs_approval_code(request.auth, scopes) or None,
    )
    with asked:
        made, text = keys.create_key(
            key=request.auth, name=body.name, scopes=scopes, mailboxes=body.mailboxes, sandbox=body.sandbox
        )
    return answer(key_facts(made) | {"api_key": text, "key": text}, status=201)


@router.patch("/api-keys/{key_id}", auth=needs(Scope.ADMIN), response=documented(KeyChanged) | {202: PendingApproval})
def update_key(request: KeyedRequest, key_id: str, body: KeyPatch) -> HttpResponse:
    """Change name, scopes or mailboxes.

    Giving a key the scope oversight takes an operator's code; from a key that also sends, so does letting a key
    administer without sending.
    """
    found, said = keys.key_named(request.auth, key_id), body.said()
    asked = confirmed(
        key=request.auth,
        action="update_api_key",
        what={"id": found.pk, **said},
        summary=f"Give the API key {found.name} the scopes {', '.join(said.get('scopes', ()))}",
        code=body.approval_code,
        now=timezone.now(),
        needed=keys.needs_approval_code(request.auth, said.get("scopes", ()), before=found.scopes),
    )
    with asked:
        changed = keys.change_key(key=request.auth, changed=found, said=said)
    return answer(key_facts(changed) | {"status": "updated"})


@router.delete("/api-keys/{key_id}", auth=needs(Scope.ADMIN), response=documented(Changed) | {202: PendingApproval})
def revoke_key(
    request: KeyedRequest,
    key_id: str,
    body: ConfirmIn = ConfirmIn(),  # noqa: B008
    approval_code: str = "",
) -> HttpResponse:
    """Revoke a key at once."""
    found, now = keys.key_named(request.auth, key_id), timezone.now()
    asked = confirmed(
        key=request.auth,
        action="revoke_api_key",
        what={"id": found.pk},
        summary=f"Revoke the API key {found.name}",
        code=body.approval_code or approval_code,
        now=now,
    )
    with asked:
        keys.revoke_key(key=request.auth, revoked=found, now=now)
    return answer({"id": found.pk, "status": "revoked"})


def _reach(mailboxes: list[str] | None) -> str:
    return ", ".join(mailboxes) if mailboxes else "all mailboxes"
