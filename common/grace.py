"""For how long what ends by itself may last before it needs a person: the grace times
of the desk and of `doctor`.

docs/operators/troubleshooting.md lists them. What only a person can end (a refused key,
a kill switch, a decision to make) has none.
"""

from datetime import timedelta

# What workers do within seconds: decisions that are due, contents to fetch, seals,
# doubts to look up, alerts, ticks.
STUCK_AFTER = timedelta(minutes=1)
# After a start that was down for long, all of it is late at first.
START = timedelta(minutes=1)
# A connection that fails is tried again, at most a minute apart: a restart of MultiMail
# needs nobody.
FAILING_AFTER = timedelta(minutes=3)
# Not read whole for so long, a connection may hold mail that the queue lacks.
STALE_AFTER = timedelta(minutes=10)
# MultiMail says within minutes that approved mail left.
WORD_AFTER = timedelta(hours=1)
