"""The base class of all Celery tasks: sent after the commit, and not at all while Redis
is away.

A task that was not sent costs only time: the rows say what is to be done, and a sweep
finds them.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import redis
from celery.contrib.django.task import DjangoTask
from django.db import transaction
from kombu.exceptions import OperationalError

from common.redis import is_resting, quick_redis, rest

# More than a sweep finds at once. A worker that is behind gains nothing from being sent
# the same rows again.
ENOUGH = 500
# Seconds after which a long task gives its thread to others.
AT_A_TIME = 5.0


class AfterCommitTask(DjangoTask):
    """Celery's task for Django, whose `delay_on_commit` never raises: Celery's raises
    once the row is committed.

    A request waits about a second at most, whatever Redis does
    (`broker_transport_options`), and for one task only.
    """

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> Any:
        """Send the task once the current transaction has committed."""
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(self, *args: Any, **options: Any) -> Any:
        """Send the task once the current transaction has committed, with options such
        as `countdown`.
        """
        # No `partial`, whose error Django cannot log: it would raise after all.
        transaction.on_commit(lambda: self._send(*args, **options), robust=True)

    def delay_each(self, keys: Iterable[Any]) -> None:
        """Send the task for each row that a sweep found, unless so many wait in its
        queue that they are among them.
        """
        if not self.has_enough_to_do():
            for key in keys:
                self.delay_on_commit(key)

    def has_enough_to_do(self) -> bool:
        """Whether so many tasks wait in the queue of this one that a sweep need not add
        any.
        """
        if is_resting():
            return False
        queue = self.app.amqp.router.route({}, self.name)["queue"].name
        try:
            return int(quick_redis().llen(queue)) > ENOUGH
        except redis.RedisError:
            return False

    def repeat(self, step: Callable[[], Any], *args: Any) -> str:
        """Call `step` until it finds nothing, for a few seconds; the rest is for a new
        task with these arguments.
        """
        until = time.monotonic() + AT_A_TIME
        while step():
            if time.monotonic() > until:
                self.delay_on_commit(*args)
                return "to be continued"
        return "done"

    def _send(self, *args: Any, **options: Any) -> None:
        if is_resting():
            return
        try:
            self.apply_async(*args, **options)
        except (OperationalError, redis.RedisError, OSError) as error:
            rest(error)
