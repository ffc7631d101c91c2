"""Links by which one attached file can be fetched without a key, until they expire.

A link names the key that asked for it: with the key, its account, or its right to read there, the link ends too.
"""

from django.core import signing

from gateway.errors import Forbidden, NotFound
from gateway.models import ApiKey, Attachment, Email
from gateway.models.accounts import Scope

LASTS = 3600

_SALT = "gateway.file_links"


def link_token(*, key: ApiKey, file: Attachment) -> str:
    """Return the last part of a link to `file`."""
    return signing.dumps([key.pk, file.email_id, file.pk], salt=_SALT)


def file_of_token(token: str) -> Attachment:
    """Return the file that a link leads to, with its bytes. Raises Forbidden or NotFound."""
    try:
        key_id, email_id, file_id = signing.loads(token, salt=_SALT, max_age=LASTS)
    except signing.SignatureExpired:
        raise Forbidden("This link has expired. Ask for a new one.", code="link_expired") from None
    except (signing.BadSignature, ValueError, TypeError):
        raise Forbidden("This is not a link that was given here.", code="invalid_link") from None
    key = ApiKey.objects.select_related("account").filter(pk=key_id, revoked_at=None).first()
    file = Attachment.objects.select_related("email__mailbox").filter(pk=file_id, email_id=email_id).first()
    if file is None or not file.email.mailbox.is_active:
        raise NotFound("This file is not here any more.")
    if key is None or not _may_read(key, file.email):
        raise Forbidden("Who asked for this link has no access any more.", code="link_ended")
    return file


def _may_read(key: ApiKey, email: Email) -> bool:
    limited_away = bool(key.mailbox_ids) and email.mailbox_id not in key.mailbox_ids
    return key.account.is_active and key.may(Scope.READ) and not limited_away
