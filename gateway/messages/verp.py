"""Return addresses that name their email (VERP), so that a report or bounce to one is
known to be about it.

Such an address is bounce+<id>.<mac>@<domain of the mailbox>. Who has not got the mail
cannot make one up.
"""

import hmac
import re

from django.conf import settings
from django.utils.crypto import salted_hmac

from common.mail_addresses import domain_of
from gateway.models import Email

_LOCAL = re.compile(r"bounce\+([0-9a-z]{26})\.([0-9a-f]{12})", re.IGNORECASE)
_SALT = "gateway.verp"


class ForgedAddress(Exception):
    """The address has the form of a return address, but its signature is wrong."""


def return_address(email: Email) -> str:
    """Return the envelope sender of an email."""
    return f"bounce+{email.pk.lower()}.{_mac(email.pk, settings.SECRET_KEY)}@{domain_of(email.from_address)}"


def envelope_id(email: Email) -> str:
    """Return the envelope id, which only mail servers see and repeat in reports (ENVID,
    RFC 3461 section 4.4).
    """
    mac = salted_hmac("gateway.envelope", email.pk, algorithm="sha256")
    return mac.hexdigest()[:32]


def email_id_in(address: str) -> str:
    """Return the id of the email of a return address; empty for any other address.
    Raises ForgedAddress.
    """
    found = _LOCAL.fullmatch(address.rpartition("@")[0])
    if found is None:
        return ""
    email_id = found[1].upper()
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if hmac.compare_digest(_mac(email_id, key), found[2].lower()):
            return email_id
    raise ForgedAddress


def _mac(email_id: str, key: str | bytes) -> str:
    return salted_hmac(_SALT, email_id, secret=key, algorithm="sha256").hexdigest()[:12]
