"""Finds whom an act of the ledger tells something, makes their notices, and ends those
whose cause is over. What is wanted is read from the rows as they are now: planning an
act late, twice or after others gives the same notices.

The worker that plans alerts calls `plan` after the act is committed. The daily summary,
and the end of old notices, come from the clock.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from approvals.decisions.ruling import demands_for, policy_in_force
from approvals.desk_messages import awaits_review, desk_messages, latest_decision
from approvals.models import Claim, Question, Reminder
from audit.models import Entry
from common.actors import worker
from common.postgres import clock
from mirror.models import Message
from notices.models import WAITING, Cause, Notice, Preferences
from notices.preferences import is_on_desk
from notices.signals import made
from people.models import PendingChange, Person
from people.second_admin.changes import other_admins

# Who is told, by key, with since when their cause lasts.
Wanted = Mapping[int, datetime]

# Acts after which a message waits again: every cause is looked for.
_WAITS_AGAIN = """
decision.undone decision.refused decision.found_again decision.without_effect
""".split()
# Acts after which a message does not wait any more.
_DECIDED = """
decision.recorded message.approved message.released message.rejected
message.cancelled message.failed message.gone message.set_apart
""".split()
# Acts by which a decision comes back to whoever made it.
RETURNS = """
decision.refused decision.superseded decision.found_again decision.unattributed
message.failed message.bounced message.complained
""".split()
_CHANGES = """
change.asked change.accepted change.declined change.withdrawn change.refused
""".split()
# Acts on an account that its owner is told of, whoever did them.
ACCOUNT = """
person.signed_in person.factor_added person.factor_removed person.password_link_made
person.password_changed person.recovery_code_used person.chat_linked
person.provider_linked person.grants_changed
""".split()
# How many earlier sign-ins are looked at to know a device.
_SIGN_INS = 100
# When the summary comes, by the person's own clock, and until when it may be late.
HOUR = time(8)
LATEST = timedelta(hours=4)
# How long notices stay in the list, and in the table after they have ended.
KEPT = timedelta(days=30)


def plan(entry: Entry, person: int | None) -> None:
    """Make and end the notices that follow from a committed act. `person` is whom the
    act is about.
    """
    if entry.action in ACCOUNT:
        _tell_owner(entry, person)
    elif entry.action.startswith("change."):
        _tell_admins(entry)
    elif entry.message is not None:
        _plan_message(entry, entry.message)


def _plan_message(entry: Entry, public_id: UUID) -> None:
    about = Notice.objects.filter(message__public_id=public_id)
    if entry.action in _DECIDED:
        is_ours = entry.action == "decision.recorded"
        (about if is_ours else about.filter(cause__in=WAITING)).end()
    waits_again = entry.action in _WAITS_AGAIN
    begun = [
        (cause, wanted)
        for cause, (actions, wanted) in _BEGINS.items()
        if waits_again or entry.action in actions
    ]
    if not begun and entry.action not in RETURNS:
        return
    messages = desk_messages().filter(public_id=public_id).with_content()
    message = messages.select_related("connection", "review").first()
    if message is None:
        return
    if entry.action in RETURNS:
        decision = latest_decision(message)
        if decision is not None and decision.given_by_id is not None:
            about.filter(cause=Cause.RETURNED).end()
            _make(entry, Cause.RETURNED, [decision.given_by_id], message=message)
    if begun and awaits_review(message.pk):
        for cause, wanted in begun:
            _tell(entry, message, cause, wanted(message))


def _tell(entry: Entry, message: Message, cause: Cause, wanted: Wanted) -> None:
    """Make the notices of one cause and message that are wanted and missing, and end
    the others. A cause that began anew is told anew.
    """
    wanted = {**_stand_ins(wanted), **wanted}
    notices = Notice.objects.open().filter(message=message, cause=cause)
    told = [
        one
        for one in notices
        if one.person_id in wanted and one.made_at >= wanted[one.person_id]
    ]
    if len(told) < len(notices):
        notices.exclude(pk__in=[one.pk for one in told]).end()
    missing = set(wanted) - {one.person_id for one in told}
    _make(entry, cause, missing, message=message)


def _stand_ins(wanted: Wanted) -> Wanted:
    """Return who is told in place of those who are out of office."""
    absent = Preferences.objects.filter(
        person__in=wanted,
        person__away_from__lte=Now(),
        person__away_until__gt=Now(),
        stand_in__isnull=False,
    )
    pairs = absent.values_list("stand_in", "person")
    return {stand_in: wanted[person] for stand_in, person in pairs}


def _make(entry: Entry, cause: Cause, people: Collection[int], **subject: Any) -> None:
    """Make notices for those of the people who are active and see the message. Nobody
    is told what they did themselves, but what came back or waits for them again.
    """
    told = Person.objects.filter(is_active=True)
    if message := subject.get("message"):
        told = Person.objects.seeing(
            connection=message.connection_id, mailbox=message.mailbox_id
        )
    by = int(entry.actor_id) if entry.actor_kind == "person" else None
    is_again = cause in (Cause.RETURNED, Cause.ACCOUNT) or entry.action in _WAITS_AGAIN
    if by is not None and not is_again:
        told = told.exclude(pk=by)
    told = told.filter(pk__in=people).select_related("preferences")
    notices = Notice.objects.bulk_create(
        Notice(
            person=one,
            cause=cause,
            action=entry.action,
            by_id=by,
            on_desk=is_on_desk(one, cause),
            **subject,
        )
        for one in told
    )
    if notices:
        made.send(sender=Notice, notices=notices)


def _assigned(message: Message) -> Wanted:
    claims = Claim.objects.on(message).live().filter(is_assigned=True)
    return dict(claims.values_list("person", "claimed_at"))


def _reminded(message: Message) -> Wanted:
    reminders = Reminder.objects.filter(message=message)
    return dict(reminders.values_list("person", "reminded_at"))


def _mentioned(message: Message) -> Wanted:
    asked = Question.objects.on(message).values_list("person", "comment__created_at")
    return dict(asked)


def _asked_to_approve(message: Message) -> Wanted:
    """Those members of the groups whose approvals are missing who may approve it."""
    policy = policy_in_force()
    if not policy.asks_people or message.review.is_apart:
        return {}
    now = timezone.now()
    demands = demands_for([message], worker("notices"), now, policy=policy)
    demand = demands[message.pk]
    members = set[int]().union(
        *(demand.people.groups.get(group, ()) for group in demand.progress.missing)
    )
    may_approve = members & demand.people.reviewers - demand.barred
    # A notice lasts over several approvals; a new version is told anew.
    since = message.revision.created_at if message.revision else message.held_at
    return dict.fromkeys(may_approve - set(demand.givers), since or now)


# By cause, the acts after which it may have begun or ended, and who is told.
_BEGINS = {
    Cause.ASSIGNED: ("message.assigned claim.taken claim.released".split(), _assigned),
    Cause.REMINDED: (["message.reminded"], _reminded),
    Cause.MENTIONED: (["comment.added"], _mentioned),
    Cause.APPROVAL: (
        "message.fetched message.changed approval.recorded verdict.taken_back".split(),
        _asked_to_approve,
    ),
}
# All acts that `plan` wants to know of.
ACTIONS = frozenset((*_WAITS_AGAIN, *_DECIDED, *RETURNS, *_CHANGES, *ACCOUNT)).union(
    *(actions for actions, _ in _BEGINS.values())
)


def _tell_admins(entry: Entry) -> None:
    """Tell those who can accept a change that waits, and end what is told of others."""
    waiting = PendingChange.objects.waiting()
    told = Notice.objects.filter(change__isnull=False)
    told.filter(~Q(change__in=waiting)).end()
    for change in waiting.exclude(pk__in=told.values("change")):
        admins = other_admins(change, asker=change.asked_by_id)
        _make(entry, Cause.CHANGE, [one.pk for one in admins], change=change)


def _tell_owner(entry: Entry, person: int | None) -> None:
    """Tell a person what happened to their account, and a sign-in from a device from
    which they have not signed in before.
    """
    if person is None and entry.actor_kind == "person":
        person = int(entry.actor_id)
    is_known = entry.action == "person.signed_in" and not _is_new_device(entry)
    if person is not None and not is_known:
        _make(entry, Cause.ACCOUNT, [person])


def _is_new_device(entry: Entry) -> bool:
    earlier = (
        Entry.objects.with_details()
        .of_person(int(entry.actor_id))
        .of_action("person.signed_in")
        .filter(pk__lt=entry.pk)
        .newest_first()[:_SIGN_INS]
    )
    devices = [one.details.get("device") for one in earlier]
    return bool(devices) and entry.details.get("device") not in devices


def summarise() -> int:
    """Make the summary of everybody for whom it is morning and for whom something
    waits; return how many there are.
    """
    return sum(map(_summarise, Person.objects.present().exclude(grants=None)))


@transaction.atomic
def _summarise(person: Person) -> bool:
    now = clock()
    here = now.astimezone(ZoneInfo(person.time_zone))
    morning = datetime.combine(here, HOUR, here.tzinfo)
    # Whoever joined since then saw what waits.
    if person.joined_at >= morning or not morning <= now < morning + LATEST:
        return False
    # Two workers may do this at once.
    Person.objects.select_for_update().get(pk=person.pk)
    summaries = Notice.objects.filter(person=person, cause=Cause.SUMMARY)
    waiting = desk_messages().waiting_for(person.actor(surface="worker"))
    if summaries.filter(made_at__gte=morning).exists() or not waiting.exists():
        return False
    summaries.end()
    notice = Notice.objects.create(
        person=person, cause=Cause.SUMMARY, on_desk=is_on_desk(person, Cause.SUMMARY)
    )
    made.send(sender=Notice, notices=[notice])
    return True


def forget() -> int:
    """Delete notices that were made or ended long ago; return how many."""
    old = Q(made_at__lt=Now() - KEPT) | Q(ended_at__lt=Now() - KEPT)
    return Notice.objects.filter(old).delete()[0]
