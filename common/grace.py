"""Grace times: how long a problem that usually ends by itself may last before the desk
and `doctor` report that it needs a person.

docs/operators/troubleshooting.md lists them. What only a person can end (a refused key,
a kill switch, a decision to make) has no grace time.
"""

from datetime import timedelta

# For what workers do within seconds: carry out due decisions, fetch contents, seal,
# look up unknown outcomes, send alerts, run periodic jobs.
STUCK_AFTER = timedelta(minutes=1)
# After a start: if the desk was down for long, all this work is late at first.
START = timedelta(minutes=1)
# For a connection that fails. It is tried again after seconds, so a quick restart of
# MultiMail needs no person.
FAILING_AFTER = timedelta(seconds=20)
# For a connection whose list of held messages was not read completely: the queue may
# lack messages.
STALE_AFTER = timedelta(minutes=10)
# For a webhook about a message that a read has shown to be held.
UNHEARD_AFTER = timedelta(minutes=4)
# For approved mail that the mail server does not take: many take mail of strangers at
# the second attempt only.
NOT_TAKEN_AFTER = timedelta(minutes=10)
# For approved mail: MultiMail reports within minutes that it was sent.
WORD_AFTER = timedelta(hours=1)
