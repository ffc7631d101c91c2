"""The mailboxes of the accounts, which looser modes agents ask for, and making a mailbox."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from approvals import wakeups
from common.pages import DeskRequest
from connections.calls import READ_SECONDS
from connections.mailboxes.commands import create_mailbox
from connections.mailboxes.forms import NEW_MODES, NewMailboxForm
from connections.mailboxes.loosening import Wish, Wishes, read_wishes
from connections.mailboxes.modes import Mode, mode_named
from connections.page_base import CHANGE_ERRORS, accounts_of, is_admin, told_by
from mirror.models import Connection, Mailbox
from mirror.sync.mailboxes import read_mailboxes
from people.actors import Actor, Role
from people.sign_in.reauthentication import reauthenticated


@dataclass(frozen=True)
class Account:
    """One connection with its mailboxes as the page shows them; `problem` says why they may be out of date."""

    connection: Connection
    boxes: list["Box"]
    gone: list[Mailbox]
    wishes: list["Asked"]
    problem: str
    may_add: bool
    lacks_key: bool
    lists_wishes: bool


@dataclass(frozen=True)
class Box:
    """A mailbox with what its mode means, and how much is held in it."""

    box: Mailbox
    mode: Mode | None
    held: int


@dataclass(frozen=True)
class Asked:
    """A looser mode that somebody asked for, with the mailbox it is for."""

    wish: Wish
    box: Mailbox
    mode: Mode | None


@login_required
@require_safe
def mailboxes(request: DeskRequest) -> HttpResponse:
    """List the mailboxes of every account that the actor sees, read anew where they are an admin."""
    actor: Actor = request.actor
    connections = list(Connection.objects.at_work().visible_to(actor).order_by("name", "pk"))
    accounts = [_account(connection, actor) for connection in connections]
    context = {"accounts": accounts, "is_admin": actor.has(Role.ADMIN), "may_add": any(a.may_add for a in accounts)}
    return render(request, "approvals/mailboxes.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def add_mailbox(request: DeskRequest) -> HttpResponse:
    """Show the form for a mailbox, and make it."""
    actor: Actor = request.actor
    accounts = accounts_of(actor)
    if not accounts:
        return render(request, "approvals/mailbox_add.html", {"refused": True}, status=403)
    with_key = Connection.objects.filter(pk__in=[one.pk for one in accounts if one.admin_key]).order_by("name", "pk")
    if request.method != "POST":
        return _form(request, with_key, typed={"connection": request.GET.get("connection", "")})
    form = NewMailboxForm(request.POST, connections=with_key)
    if not form.is_valid():
        return _form(request, with_key, typed=request.POST, wrong=form.sentences(), status=422)
    try:
        made = create_mailbox(connection=form.cleaned_data["connection"], actor=actor, wanted=form.wanted())
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _form(request, with_key, typed=request.POST, status=status, **told)
    mode = mode_named(made.oversight_mode)
    said = f"{made} is there. Its mode is {mode.words.lower() if mode else made.oversight_mode}."
    messages.info(request, said, extra_tags="desk")
    return redirect("mailbox", mailbox_id=made.pk)


def _form(
    request: DeskRequest, connections: Any, *, typed: Any, wrong: dict[str, str] | None = None, status: int = 200,
    **told: Any,
) -> HttpResponse:  # fmt: skip
    context = {"connections": list(connections), "modes": NEW_MODES, "typed": typed, "wrong": wrong or {}, **told}
    return render(request, "approvals/mailbox_add.html", context, status=status)


def _account(connection: Connection, actor: Actor) -> Account:
    mine = connection.mailboxes.visible_to(actor)
    administers = is_admin(actor, connection) or any(is_admin(actor, connection, box.pk) for box in mine)
    problem = _read_anew(connection, administers=administers)
    boxes = list(mine.order_by("address", "pk"))
    held = mine.held_in_each()
    active = [box for box in boxes if box.is_active]
    wishes = read_wishes(connection) if administers and connection.admin_key and not problem else Wishes()
    return Account(
        connection=connection,
        boxes=[Box(box, mode_named(box.oversight_mode), held.get(box.pk, 0)) for box in active],
        gone=[box for box in boxes if not box.is_active],
        wishes=_asked(wishes, [box for box in active if is_admin(actor, connection, box.pk)]),
        problem=problem or (wishes.problem if wishes.is_offered else ""),
        may_add=is_admin(actor, connection) and bool(connection.admin_key),
        lacks_key=administers and not connection.admin_key,
        lists_wishes=wishes.is_offered,
    )


def _read_anew(connection: Connection, *, administers: bool) -> str:
    """Read the mailboxes now, for an admin who waits for it, and return why that failed; for others, a worker does."""
    if not (connection.admin_key or connection.read_key):
        return ""
    if connection.paused_at or connection.failing_since:
        # Nobody waits for what is known to be away.
        return "MultiMail is not asked while the connection is not well. This is how they were when last read."
    if administers:
        return read_mailboxes(connection_id=connection.pk, within=READ_SECONDS)
    wakeups.read_mailboxes(connection)
    return ""


def _asked(wishes: Wishes, boxes: list[Mailbox]) -> list[Asked]:
    """Return what was asked for, only for mailboxes whose admin looks: the codes are theirs to know."""
    by_id = {box.upstream_id: box for box in boxes}
    mine = [wish for wish in wishes.waiting if wish.mailbox_id in by_id]
    return [Asked(wish, by_id[wish.mailbox_id], mode_named(wish.target)) for wish in mine]
