"""Links by which one attached file can be fetched without a key, until they expire.

A link names the key that asked for it: with the key, or its account, the link ends too.
"""

from django.core import signing

from gateway.errors import Forbidden, NotFound
from gateway.models import ApiKey, Attachment

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
    if key is None or not key.account.is_active:
        raise Forbidden("Who asked for this link has no access any more.", code="link_ended")
    file = Attachment.objects.filter(pk=file_id, email_id=email_id, email__mailbox__is_active=True).first()
    if file is None:
        raise NotFound("This file is not here any more.")
    return file
