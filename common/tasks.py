"""The base class of all Celery tasks: a task is sent after the transaction commits, and
not at all while Redis does not answer.

If a task is not sent, its work is only done later: the work is recorded in rows, and a
sweep finds them.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import redis
from celery.contrib.django.task import DjangoTask
from django.db import transaction
from kombu.exceptions import OperationalError

from common.redis import is_resting, quick_redis, rest

# Tasks in a queue: more than a sweep finds at once. If so many wait, sending the same
# rows again would not help a worker that is behind.
ENOUGH = 500
# Seconds after which a long task ends, so that other tasks get its thread.
AT_A_TIME = 5.0


class AfterCommitTask(DjangoTask):
    """Celery's task for Django, but its `delay_on_commit` never raises. With Celery's
    own the caller would get an error although its rows are committed.

    A request waits about a second at most, whatever Redis does
    (`broker_transport_options`), and only for the first task that cannot be sent.
    """

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> Any:
        """Send the task once the current transaction has committed."""
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(self, *args: Any, **options: Any) -> Any:
        """Send the task once the current transaction has committed, with options such
        as `countdown`. With `once`, one that waits for the same countdown is enough.
        """
        # A lambda, not a `partial`: Django logs the name of a function that fails here,
        # and would raise an error for a `partial`, which has none.
        transaction.on_commit(lambda: self._send(*args, **options), robust=True)

    def delay_each(self, keys: Iterable[Any]) -> None:
        """Send the task for each row that a sweep found. If the queue is already long,
        send nothing: these rows are probably in it.
        """
        if not self.has_enough_to_do():
            for key in keys:
                self.delay_on_commit(key)

    def has_enough_to_do(self) -> bool:
        """Whether so many tasks wait in this task's queue that a sweep need not add
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
        """Call `step` until it returns nothing, but only for AT_A_TIME seconds. Then
        send a new task with these arguments, which does the rest.
        """
        until = time.monotonic() + AT_A_TIME
        while step():
            if time.monotonic() > until:
                self.delay_on_commit(*args)
                return "to be continued"
        return "done"

    # Runs after the commit. An error is not raised: a sweep finds the row.
    def _send(self, *args: Any, once: bool = False, **options: Any) -> None:
        if is_resting():
            return
        # Without what nobody reads (texts of the arguments, for events) or needs (Redis
        # makes a queue when something is put into it): a fifth of Celery's time here.
        options |= {"argsrepr": "", "kwargsrepr": "", "declare": ()}
        try:
            # The mark ends before the task begins, which so finds what is committed now.
            if once:
                milliseconds = int(options["countdown"] * 1000)
                mark = f"task:{self.name}:{milliseconds}"
                if not quick_redis().set(mark, "", px=milliseconds, nx=True):
                    return
            self.apply_async(*args, **options)
        except (OperationalError, redis.RedisError, OSError) as error:
            rest(error)
