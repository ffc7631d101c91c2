"""The brake on agents that send too much: counts what is held, and sets apart what comes after a cap is passed.

Nothing is lost or rejected by it: what is set apart is held and mirrored like everything else, but stands in a list of
its own and has no card. Each held message counts once for its key, its mailbox, each recipient and its text, by the
database's clock. What comes counts also while it is set apart, so that an agent that goes on stays apart.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now

from audit.recording import record
from common.postgres.retry import atomic_with_retry
from common.postgres.rows import Answer, insert, run
from mirror.models import Brake, Mailbox, Message
from mirror.models.brakes import DAY, HOUR, Kind
from people.actors import Actor, worker

log = logging.getLogger(__name__)

ACTOR = worker("brake")
# The most in an hour and in a day, where no admin has said otherwise.
DEFAULTS: dict[str, tuple[int, int]] = {
    Kind.KEY: (300, 2000),
    Kind.ALIKE: (200, 1000),
    Kind.MAILBOX: (500, 3000),
    Kind.RECIPIENT: (60, 300),
}
# Messages of one account that may be stored at one moment, each unseen by the others: from so close to a cap on they
# wait for one another.
AT_ONCE = 30
# The key of an advisory lock; other locks use other keys.
LOCK = 7_305
MAX_RECIPIENTS = 50

# Of each thing that this message counts for: the caps of its mailbox, else of all, and how many others came within an
# hour and a day, counted up to the cap (cap_once, arrival_counted, brake_open_once). What it was counted for before,
# by the webhook, is not judged again when its content is read, unless `again`.
_COUNT = """
WITH asked AS MATERIALIZED (
    SELECT what, kind, an_hour, a_day FROM unnest(%(whats)s::text[], %(kinds)s::text[], %(hours)s::int[],
        %(days)s::int[]) AS asked(what, kind, an_hour, a_day)
), added AS (
    INSERT INTO mirror_arrival (connection_id, what, upstream_id)
    SELECT %(connection)s, what, %(id)s FROM asked ORDER BY what ON CONFLICT DO NOTHING RETURNING what
), capped AS MATERIALIZED (
    SELECT asked.what, asked.kind, coalesce(cap.an_hour, asked.an_hour) AS an_hour,
        coalesce(cap.a_day, asked.a_day) AS a_day
    FROM asked LEFT JOIN LATERAL (
        SELECT cap.an_hour, cap.a_day FROM mirror_cap cap LEFT JOIN mirror_mailbox box ON box.id = cap.mailbox_id
        WHERE cap.kind = asked.kind AND (cap.mailbox_id IS NULL OR (
            box.connection_id = %(connection)s AND box.upstream_id = %(mailbox)s
        )) ORDER BY cap.mailbox_id NULLS LAST LIMIT 1
    ) cap ON true WHERE %(again)s OR asked.what IN (SELECT added.what FROM added)
)
SELECT what, kind, an_hour, a_day, (
    SELECT count(*) FROM (
        SELECT FROM mirror_arrival seen WHERE seen.connection_id = %(connection)s AND seen.what = capped.what
        AND seen.at > statement_timestamp() - interval '1 hour' AND seen.upstream_id <> %(id)s LIMIT capped.an_hour
    ) AS came
), (
    SELECT count(*) FROM (
        SELECT FROM mirror_arrival seen WHERE seen.connection_id = %(connection)s AND seen.what = capped.what
        AND seen.at > statement_timestamp() - interval '1 day' AND seen.upstream_id <> %(id)s LIMIT capped.a_day
    ) AS came
), (
    SELECT brake.id FROM mirror_brake brake WHERE brake.connection_id = %(connection)s AND brake.what = capped.what
    AND brake.ended_at IS NULL
) FROM capped
"""


@dataclass(frozen=True)
class Passed:
    """A cap that is passed: of what, how many in which window, and the brake that is open for it."""

    what: str
    kind: str
    cap: int
    window: timedelta
    brake: int | None


class Counted:
    """A held message that was counted, within the caller's transaction and maybe its batch of statements."""

    def __init__(
        self,
        *,
        connection: int,
        upstream_id: str,
        mailbox: str,
        key: str,
        recipients: Iterable[str],
        shape: str = "",
    ) -> None:
        """`mailbox` is MultiMail's id of it, `key` the id or name of the API key; empty is not known (yet)."""
        named = [(Kind.KEY, key), (Kind.ALIKE, shape), (Kind.MAILBOX, mailbox)]
        named += [(Kind.RECIPIENT, one) for one in list(dict.fromkeys(recipients))[:MAX_RECIPIENTS]]
        things = [(f"{kind}:{one}", str(kind)) for kind, one in named if one]
        self._parameters = {
            "connection": connection,
            "id": upstream_id,
            "mailbox": mailbox,
            "whats": [what for what, _ in things],
            "kinds": [kind for _, kind in things],
            "hours": [DEFAULTS[kind][0] for _, kind in things],
            "days": [DEFAULTS[kind][1] for _, kind in things],
        }
        self._answer = self._ask(again=False)

    def _ask(self, *, again: bool) -> Answer:
        return run(_COUNT, self._parameters | {"again": again}, prepare=True)

    def passed(self) -> Passed | None:
        """Return the first cap that this message is past, once the statement has been answered.

        Close to a cap, messages that are stored at the same moment wait for one another, so that exactly as many as
        the cap allows are before it.
        """
        found = self._answer.rows
        if not _first_passed(found) and any(_is_close(row) for row in found):
            run("SELECT pg_advisory_xact_lock(%s::int, %s::int)", [LOCK, self._parameters["connection"]], prepare=True)
            judged = {row[0] for row in found}
            found = [row for row in self._ask(again=True).rows if row[0] in judged]
        return _first_passed(found)


def _windows(row: tuple[object, ...]) -> list[tuple[int, int, timedelta]]:
    """Return the caps of a row with how many came and in which window; a cap of 0 is none."""
    _, _, an_hour, a_day, in_hour, in_day, _ = row
    both = ((an_hour, in_hour, HOUR), (a_day, in_day, DAY))
    return [(int(str(cap)), int(str(came)), window) for cap, came, window in both if cap]


def _is_close(row: tuple[object, ...]) -> bool:
    return any(came + AT_ONCE >= cap for cap, came, _ in _windows(row))


def _first_passed(rows: Sequence[tuple[object, ...]]) -> Passed | None:
    order = list(Kind.values)
    for what, kind, *rest in sorted(rows, key=lambda row: (order.index(str(row[1])), str(row[0]))):
        for cap, came, window in _windows((what, kind, *rest)):
            if came >= cap:
                brake = rest[-1]
                return Passed(str(what), str(kind), cap, window, int(str(brake)) if brake is not None else None)
    return None


def brake_for(
    passed: Passed, *, connection: int, mailbox: int | None, key: str, key_name: str, subject: str, actor: Actor
) -> int:
    """Return the key of the open brake for a cap that is passed; the first message past it opens and records it.

    A flood that begins again within its window is the same one: its card is edited, and nobody is told twice.
    """
    if passed.brake is not None:
        return passed.brake
    mine = Brake.objects.filter(connection=connection, what=passed.what)
    ended = mine.filter(ended_at__gt=Now() - passed.window).order_by("-pk").first()
    fresh = {"ended_at": None, "opened_at": Now(), "window": passed.window, "cap": passed.cap}
    if ended is not None and Brake.objects.filter(pk=ended.pk, ended_at__isnull=False).update(**fresh):
        _record("brake.opened", Brake.objects.get(pk=ended.pk), actor)
        return int(ended.pk)
    made = Brake(
        connection_id=connection,
        mailbox_id=mailbox,
        kind=passed.kind,
        what=passed.what,
        name=_name(passed, mailbox, key_name, subject)[:200],
        sent_by_key=key[:200],
        sent_by_key_name=key_name[:200],
        window=passed.window,
        cap=passed.cap,
    )
    if (inserted := insert(made, unless_there=True).one()) is None:
        # Another message opened it at this moment, and has committed.
        return int(mine.open().values_list("pk", flat=True).get())
    made.pk = int(inserted[0])
    _record("brake.opened", made, actor)
    log.warning("messages are set apart", extra={"brake": made.pk, "kind": passed.kind, "cap": passed.cap})
    return int(made.pk)


def _name(passed: Passed, mailbox: int | None, key_name: str, subject: str) -> str:
    _, _, value = passed.what.partition(":")
    if passed.kind == Kind.KEY:
        return key_name or value
    if passed.kind == Kind.ALIKE:
        return subject or "(no subject)"
    if passed.kind == Kind.MAILBOX:
        found = Mailbox.objects.filter(pk=mailbox).first() if mailbox is not None else None
        return str(found or value)
    return value


def _record(action: str, brake: Brake, actor: Actor, **more: str) -> None:
    record(action, actor=actor, connection=brake.connection_id, details=details_of(brake) | more)


def details_of(brake: Brake, **more: str) -> dict[str, str]:
    """Return the details of an entry about a flood; `brake` names it for its card."""
    return {
        "brake": str(brake.pk),
        "mailbox": brake.mailbox.address if brake.mailbox else "",
        "key": brake.sent_by_key_name or brake.sent_by_key,
        "explanation": f"Messages {brake}: more than {brake.cap_in_words}.",
        **more,
    }


def set_apart_when_read(message: Message, *, mailbox: str, shape: str, actor: Actor) -> bool:
    """Count what only the content of a message tells: its text, and what its webhook left out.

    Past a cap it is set apart. The caller saves the message, which is locked. True where it was in the queue until now.
    """
    counted = Counted(
        connection=message.connection_id,
        upstream_id=message.upstream_id,
        mailbox=mailbox,
        key=message.sent_by_key or message.sent_by_key_name,
        recipients=message.addresses,
        shape=shape,
    )
    passed = counted.passed()
    if passed is None or message.brake_id is not None:
        return False
    message.is_apart, message.brake_id = (
        True,
        brake_for(
            passed,
            connection=message.connection_id,
            mailbox=message.mailbox_id,
            key=message.sent_by_key,
            key_name=message.sent_by_key_name,
            subject=message.subject,
            actor=actor,
        ),
    )
    return True


def end_over(brakes: Sequence[int]) -> int:
    """End these brakes, of which fewer than the cap came lately; return how many ended."""
    return sum(_end(brake) for brake in brakes)


@atomic_with_retry
def _end(brake_id: int) -> bool:
    # Looked at again under the lock: it may have been opened again.
    brake = Brake.objects.over().select_for_update(of=("self",)).filter(pk=brake_id).first()
    if brake is None:
        return False
    Brake.objects.filter(pk=brake.pk).update(ended_at=Now())
    _record("brake.ended", brake, ACTOR)
    return True
