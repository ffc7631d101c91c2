"""Return addresses: envelope senders that name what a bounce or report that comes to
them is about, as bounce+<name>.<mac>@<domain> (VERP); and the addresses of the desk's
mail to which people reply, as reply+<name>.<mac>@<domain>. Nobody can make one up who
does not have the mail.
"""

import hmac
import re

from django.conf import settings
from django.utils.crypto import salted_hmac

_LOCAL = re.compile(
    r"(?:bounce\+([0-9a-z]{26})|reply\+([0-9a-f]{32}-\d{1,9}))\.([0-9a-f]{12})",
    re.IGNORECASE | re.ASCII,
)
_SALT = "gateway.verp"


class ForgedAddress(Exception):
    """The address has the form of a return address, but its signature is wrong."""


def return_address(name: str, domain: str) -> str:
    """Return the return or reply address of a mail, of whose name case does not count.
    Only names for replies have a hyphen.
    """
    kind = "reply" if "-" in name else "bounce"
    return f"{kind}+{name.lower()}.{_mac(name.upper(), settings.SECRET_KEY)}@{domain}"


def name_in(address: str) -> str:
    """Return the name, in upper case, of the mail whose return or reply address this is;
    empty for any other address. Raises ForgedAddress if the signature is wrong.
    """
    parts = _LOCAL.fullmatch(address.rpartition("@")[0])
    if parts is None:
        return ""
    name = (parts[1] or parts[2]).upper()
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if hmac.compare_digest(_mac(name, key), parts[3].lower()):
            return name
    raise ForgedAddress


def _mac(name: str, key: str | bytes) -> str:
    return salted_hmac(_SALT, name, secret=key, algorithm="sha256").hexdigest()[:12]
