"""Which addresses MultiMail may have: the hosted one, our gateway's, and what the
operator names.
"""

from django.conf import settings

from common.origins import origin_of

HOSTED = "https://api.multimail.dev"


def is_named(url: str) -> bool:
    """Whether the operator named this origin: it may be private, and speak plain http."""
    named = [settings.MULTIMAIL_API_URL, *settings.OUTGOING_ALLOW]
    return origin_of(url) in {origin_of(one) for one in named}


def not_allowed_reason(url: str) -> str:
    """Return why this desk may not call MultiMail at this address, as a sentence; empty
    where it may.
    """
    if is_named(url) or origin_of(url) == origin_of(HOSTED):
        return ""
    return (
        f"This desk may not call {origin_of(url)}. Hosted MultiMail is {HOSTED}; whoever runs the desk can allow "
        "another address by adding it to OUTGOING_ALLOW."
    )
