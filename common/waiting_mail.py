"""Mail that waits at the gateway because the mail server does not take it. The gateway
notes every minute what waits, and the desk, which does not know its tables, lists it
under Needs attention.
"""

from dataclasses import dataclass
from datetime import datetime

# Under this key, the cache has a list of WaitingMail.
KEY = "waiting-mail"


@dataclass(frozen=True)
class WaitingMail:
    """What waits for one cause: how many messages, since when, when the first of them
    is tried next, the id of the oldest, and an answer of the mail server.

    `cause` is sign_in, sender, blocked, quota, unreachable or other, or empty if the
    mail server was not asked.
    """

    cause: str
    number: int
    since: datetime
    next_try: datetime
    oldest: str
    answer: str
