"""What the gateway notes every minute for the desk, which does not know its tables and
lists it under Needs attention: mail that waits because the mail server does not take it,
and domains whose DNS records are gone.
"""

from dataclasses import dataclass
from datetime import datetime

# Under these keys, the cache has a list of WaitingMail, and one of pairs of a domain and
# what is wrong with it.
WAITING = "waiting-mail"
BAD_DOMAINS = "bad-domains"
# In seconds: while nothing runs, what was noted is kept for a week.
NOTED_FOR = 604_800


@dataclass(frozen=True)
class WaitingMail:
    """What waits for one cause: how many messages, since when, when the first of them
    is tried next, the id of the oldest, and an answer of the mail server.

    `cause` is sign_in, sender, blocked, quota, unreachable or other; empty if the mail
    server was not asked; or unknown if its answer was lost, and nothing is tried again.
    """

    cause: str
    number: int
    since: datetime
    next_try: datetime
    oldest: str
    answer: str
