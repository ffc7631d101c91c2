"""Routes of API keys: listing, making, changing and revoking them."""

from typing import Annotated

from annotated_types import Len
from django.http import JsonResponse
from ninja import Router
from pydantic import AfterValidator, Field

from common.ascii import lowered, trimmed
from gateway import accounts
from gateway.api.answers import CONFIRMABLE, Answer, Iso, Json, OrNone, PendingApproval
from gateway.api.bodies import Confirmable, ConfirmIn, Line, MailboxName, example
from gateway.auth import ADMIN, KeyedRequest
from gateway.models import ApiKey, Scope

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
        fields = self.model_dump(
            include={"name", "scopes", "mailboxes", "paused"}, exclude_unset=True
        )
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
    paused_at: Iso | None
    is_active: bool


class KeyMade(KeyAnswer):
    """A new key, with its secret text, which is shown only here.

    `api_key` and `key` are the same: clients read either.
    """

    api_key: str
    key: str


class Keys(Answer):
    """All keys, revoked ones too."""

    api_keys: list[KeyAnswer]


router = Router(tags=["account"], auth=ADMIN)


@router.get("/api-keys", response=Keys)
def list_keys(request: KeyedRequest) -> Json:
    """List the account's keys, revoked ones too; never their texts."""
    rows = ApiKey.objects.manageable_by(request.auth).order_by("id")
    return {"api_keys": [KeyAnswer.of(key) for key in rows]}


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
        made = ApiKey(name=body.name, scopes=scopes, sandbox=sandbox)
        text = accounts.create_key(key, made, body.mailboxes)
    answer = KeyAnswer.of(made)
    answer["api_key"] = text
    answer["key"] = text
    return JsonResponse(answer, status=201)


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
