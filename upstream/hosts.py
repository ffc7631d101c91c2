"""At which addresses the desk may call MultiMail: the hosted service, the gateway of
this installation, and those that the operator names in OUTGOING_ALLOW.
"""

from django.conf import settings

from common.origins import origin_of

HOSTED = "https://api.multimail.dev"


def is_named(url: str) -> bool:
    """Whether a setting names the origin of this address. Such an address may be
    private and use plain http.
    """
    named = [settings.MULTIMAIL_API_URL, *settings.OUTGOING_ALLOW]
    return origin_of(url) in {origin_of(one) for one in named}


def not_allowed_reason(url: str) -> str:
    """Return why this desk may not call MultiMail at this address, as a sentence; empty
    if it may.
    """
    if is_named(url) or origin_of(url) == origin_of(HOSTED):
        return ""
    return (
        f"This desk may not call {origin_of(url)}. Hosted MultiMail is {HOSTED}; the operator of this desk can allow "
        "another address by adding it to OUTGOING_ALLOW."
    )
