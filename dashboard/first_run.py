"""The set-up page, which guides an admin through the first run of the desk, and the
reminder of the steps that are left.

The state of each step is computed from the desk each time and not stored, so that a
step that breaks later is shown as broken.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from alerts.models import Destination
from approvals.intake import unsigned
from common import smtp
from common.pages import DeskRequest, admin_or_403
from common.time_zones import local_time, zone_word
from connections.accounts.keys import SLOTS, scope_error
from connections.accounts.own_webhook import address_of, unreachable_because
from mirror.models import Connection, Message, WebhookEvent
from mirror.states import MessageState
from mirror.sync.health import freshness_of, health_of
from people.models import Person

# In the session: whether the reminder is hidden.
PUT_AWAY = "setup_put_away"
# The states of a message that a mail server has accepted.
LEFT = (
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
)
_TITLES = {
    "connect": "Connect MultiMail",
    "webhook": "Receive webhooks",
    "queue": "Read held messages",
    "mail": "Set up outgoing mail",
    "alerts": "Discord alerts",
    "people": "Invite people",
    "letter": "Send a first message",
}
# The steps that the desk works without.
_OPTIONAL = ("alerts", "people", "letter")


@dataclass
class Step:
    """One step of the set-up page. Its `summary` says what is done of it, and what to
    do next.
    """

    # A key of _TITLES.
    name: str
    # done, todo, wrong (something is broken) or later (not possible yet).
    state: str
    summary: str
    # The words and the URL of the step's button.
    label: str = ""
    url: str = ""
    # A step that worked once and broke later does not count as left.
    has_worked: bool = False
    problems: Sequence[str] = ()
    # Whether this is the first step that the admin can do something about.
    is_next: bool = False

    @property
    def title(self) -> str:
        """The step's title."""
        return _TITLES[self.name]

    @property
    def is_needed(self) -> bool:
        """Whether the desk does not work without this step."""
        return self.name not in _OPTIONAL

    @property
    def is_left(self) -> bool:
        """Whether the desk needs this step, and it was never done."""
        return self.is_needed and self.state != "done" and not self.has_worked


@require_safe
def setup(request: DeskRequest) -> HttpResponse:
    """Show which steps of the first run are done, and what to do next."""
    admin_or_403(request)
    steps, connection = set_up()
    context = {
        "left": left_of(steps),
        "open_steps": [step for step in steps if step.state != "done"],
        "done_steps": [step for step in steps if step.state == "done"],
        "command": _first_message_command(connection) if connection else None,
        "gateway_url": settings.MULTIMAIL_API_URL,
    }
    return render(request, "dashboard/setup.html", context)


@require_POST
def put_away(request: DeskRequest) -> HttpResponse:
    """Hide the reminder until the person signs in again. The set-up page stays."""
    admin_or_403(request)
    request.session[PUT_AWAY] = True
    return redirect("home")


def reminder(request: HttpRequest) -> str:
    """Return in words how many steps are left; empty if there are none, if the reminder
    was hidden, or if the person may not do the steps.
    """
    actor = request.actor  # type: ignore[attr-defined]
    if request.session.get(PUT_AWAY) or not actor.is_admin_of_all:
        return ""
    return left_of(_needed()[0])


def set_up() -> tuple[list[Step], Connection | None]:
    """Return every step, and the connection that they are about: the first one that is
    not ready, otherwise the first one.

    If no mail was sent yet, this connects to the mail server, with a time limit of
    three seconds for each step of that.
    """
    steps, connection = _needed(checks_mail_server=True)
    steps += [_discord(), _people(), _first_message(connection)]
    for step in steps:
        if step.state in ("todo", "wrong"):
            step.is_next = True
            break
    return steps, connection


def left_of(steps: Sequence[Step]) -> str:
    """Return in words how many of the needed steps are left; empty if none are."""
    number = sum(step.is_left for step in steps)
    if not number:
        return ""
    needed = sum(step.is_needed for step in steps)
    return f"{number} of {needed} steps {'is' if number == 1 else 'are'} left"


def _first_message_command(connection: Connection) -> dict[str, str | bool]:
    """Return what the page says about sending a first message: a curl command with a
    placeholder for the key, the addresses of the API and of the sender, and whether the
    sender is a mailbox of the account.
    """
    mailbox = connection.mailboxes.exclude(address="").order_by("address").first()
    message = {
        "from": mailbox.address if mailbox else "agent@your-team.example",
        "to": "dana@northwind.example",
        "subject": "Hello from the first run",
        "body": "Hello **Dana**, this is the first message.",
    }
    line = (
        f"curl -s {connection.api_url}/v1/send_email \\\n"
        '  -H "Authorization: Bearer AGENT-KEY" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(message))}"
    )
    return {
        "line": line,
        "api_url": connection.api_url,
        "mailbox": message["from"],
        "is_known": mailbox is not None,
    }


def _needed(
    *, checks_mail_server: bool = False
) -> tuple[list[Step], Connection | None]:
    """Return the needed steps, and the connection that all but the first are about.
    With `checks_mail_server` it connects to the mail server, which takes time.
    """
    events = WebhookEvent.objects.filter(connection=OuterRef("pk"))
    connections = list(
        Connection.objects.at_work()
        .annotate(clock=Now(), has_event=Exists(events))
        .order_by("pk")
    )
    connected = _connected(connections)
    if not connections:
        later = [
            Step(name, "later", "Available once MultiMail is connected.")
            for name in ("webhook", "queue", "mail")
        ]
        return [connected, *later], None
    rows = [(one, [_webhook(one), _queue(one)]) for one in connections]
    unready = [row for row in rows if any(step.is_left for step in row[1])]
    connection, steps = (unready or rows)[0]
    return [
        connected,
        *steps,
        *_mail(connection, checks_mail_server=checks_mail_server),
    ], connection


def _connected(connections: list[Connection]) -> Step:
    if not connections:
        summary = "Connect the account whose held messages are reviewed here: the built-in gateway, or hosted."
        return Step(
            "connect", "todo", summary, "Add a connection", reverse("add-connection")
        )
    problems = list[str]()
    accounts = list[str]()
    for one in connections:
        keys = list[str]()
        for name, slot in SLOTS.items():
            if getattr(one, slot.field):
                scopes = one.key_scopes.get(name)
                if error := scope_error(slot, scopes):
                    problems.append(f"{one.name}, {slot.label} key: {error}")
                scope_words = "scopes not reported"
                if scopes is not None:
                    scope_words = ", ".join(scopes) or "nothing"
                keys.append(f"{slot.label} key: {scope_words}")
        accounts.append(f"{one.name} at {one.api_url} ({'; '.join(keys)})")
    summary = f"Connected: {', '.join(accounts)}."
    return Step(
        "connect",
        "wrong" if problems else "done",
        summary,
        "View connections",
        reverse("connections"),
        problems=problems,
    )


def _webhook(connection: Connection) -> Step:
    has_event = connection.has_event  # type: ignore[attr-defined]
    url = f"{reverse('connection', args=[connection.pk])}#webhook"
    if forged := unsigned.unsigned_lately(connection.pk):
        summary = (
            f"{forged} call{'' if forged == 1 else 's'} without a valid signature in the last two minutes. If "
            "MultiMail sent them, the secret here does not match: change the secret, then test the webhook."
        )
        return Step(
            "webhook", "wrong", summary, "Change the secret", url, has_worked=has_event
        )
    if has_event:
        summary = "Registered. Signed events are arriving."
        return Step("webhook", "done", summary, "View the webhook", url)
    if because := unreachable_because(connection):
        return Step("webhook", "wrong", because, "View the webhook", url)
    if connection.upstream_webhook_id:
        summary = "Registered, but no event has arrived yet. Send a test: it arrives within a few seconds."
        return Step("webhook", "todo", summary, "Test the webhook", url)
    summary = "With a webhook, held messages appear at once. Without one, the desk looks for them every 30 seconds."
    if not connection.admin_key:
        summary += (
            " There is no admin key, so register it by hand at MultiMail, with this "
            f"address: {address_of(connection)}"
        )
    return Step("webhook", "todo", summary, "Register the webhook", url)


def _queue(connection: Connection) -> Step:
    now = connection.clock  # type: ignore[attr-defined]
    freshness = freshness_of(connection, now=now)
    label = "Read now"
    url = reverse("connection", args=[connection.pk])
    has_worked = connection.complete_as_of is not None or connection.is_being_read
    if freshness.level == "green" and freshness.as_of:
        summary = f"The queue is up to date as of {local_time(freshness.as_of):%H:%M:%S} {zone_word(freshness.as_of)}."
        return Step("queue", "done", summary, "Open the queue", reverse("queue"))
    health = health_of(connection, freshness, now=now)
    summary = f"{freshness.reason} {health.advice}"
    is_wrong = connection.paused_at or connection.failing_since
    state = "wrong" if is_wrong else "todo"
    return Step("queue", state, summary, label, url, has_worked=has_worked)


def _mail(connection: Connection, *, checks_mail_server: bool) -> list[Step]:
    """Return the step about the mail server, if the connection is to the gateway that
    runs here. Hosted MultiMail has its own mail servers.
    """
    if connection.api_url != settings.MULTIMAIL_API_URL:
        return []
    if not settings.EMAIL_URL:
        summary = (
            "EMAIL_URL is not set, so approved messages wait at the gateway. Start the product with the address of a "
            "mail server, such as EMAIL_URL=smtps://user:password@mail.example.com:465."
        )
        return [Step("mail", "todo", summary)]
    server = smtp.Server.from_url(settings.EMAIL_URL)
    sent = Message.objects.filter(connection=connection, sandbox=False, state__in=LEFT)
    if sent.exists():
        return [Step("mail", "done", f"Messages were sent through {server}.")]
    # A configured address counts as done, unless the check finds an error. Only mail
    # that was sent would prove more.
    if checks_mail_server and (error := smtp.connection_error(settings.EMAIL_URL)):
        summary = "Approved messages wait at the gateway until the mail server accepts them. Check EMAIL_URL."
        return [Step("mail", "wrong", summary, problems=[error], has_worked=True)]
    return [Step("mail", "done", f"The mail server {server} answers.")]


def _discord() -> Step:
    url = f"{reverse('alerts')}?next=setup"
    proved = Destination.objects.proved().order_by("pk").first()
    if proved:
        summary = f"{proved.name} has received a test or a card."
        return Step("alerts", "done", summary, "View alerts", url)
    untested = Destination.objects.not_removed().order_by("pk").first()
    if untested:
        summary = f"{untested.name} has not been tested yet."
        return Step("alerts", "todo", summary, "Send a test", url)
    summary = "Notify a channel when messages wait for review. Without one, people have to open the queue themselves."
    return Step(
        "alerts",
        "todo",
        summary,
        "Add a destination",
        f"{reverse('add-destination')}?next=setup",
    )


def _people() -> Step:
    others = Person.objects.filter(is_active=True).count() - 1
    if others > 0:
        summary = (
            f"You and {others} {'other' if others == 1 else 'others'} can sign in."
        )
        return Step("people", "done", summary, "View people", reverse("people"))
    summary = "Reviewers decide; auditors search the history. You can invite people later, or work alone."
    return Step("people", "todo", summary, "Invite people", reverse("invite"))


def _first_message(connection: Connection | None) -> Step:
    if connection is None:
        summary = (
            "Once MultiMail is connected, you find a command here that sends a message."
        )
        return Step("letter", "later", summary)
    if Message.objects.filter(connection=connection).exists():
        summary = "The first message has arrived. Open it and decide."
        return Step("letter", "done", summary, "Open the queue", reverse("queue"))
    summary = "Send one as an agent would. It is held, and appears in the queue."
    return Step("letter", "todo", summary, "Open the queue", reverse("queue"))
