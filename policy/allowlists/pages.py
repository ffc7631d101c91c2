"""The pages of allowlists: all lists, one list with its entries, and a change of them
with its preview.
"""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor, Role
from common.drawn_forms import DrawnForm
from common.errors import SentenceError
from common.mail_addresses import read_pattern
from common.pages import (
    DeskRequest,
    LenientForm,
    MultilineField,
    answer,
    changes,
    cleaned,
    first_or_404,
    redirect_with_notice,
)
from people.roles import GrantTarget, targets_to_give
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.allowlists.changes import (
    WantedEntry,
    add_allowlist,
    apply_change,
    steps_of,
)
from policy.errors import StalePolicy, seen_state
from policy.models import Allowlist, GateList
from policy.rules.changes import policies
from policy.rules.groups import delete_named, in_words, naming

# Rows of a page.
PAGE = 100
# Entries that can be added at a time.
MAX_LINES = 20_000
# The preview's form sends the lines again, and a form may have at most one mebibyte.
MAX_CHARACTERS = 900_000
MAX_NOTE = 300


def read_lines(text: str) -> list[WantedEntry]:
    """Return the entries of a text. Raises ValueError with a sentence."""
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        pattern, note, ends, *more = *map(str.strip, line.split(",")), "", ""
        try:
            if any(more):
                raise ValueError("It has more than a pattern, a note and an end.")
            if len(note) > MAX_NOTE:
                raise ValueError(f"The note is longer than {MAX_NOTE} characters.")
            entries.append(WantedEntry(read_pattern(pattern), note, _moment(ends)))
        except ValueError as error:
            raise ValueError(f"Line {number}: {error}") from None
    return entries


def _moment(text: str) -> datetime | None:
    """Return when an entry ends, None for an empty text. A date means the end of that
    day in UTC; a time without a zone is UTC.
    """
    if not text:
        return None
    try:
        is_day = len(text) == len("2026-12-31")
        moment = datetime.fromisoformat(f"{text}T23:59:59" if is_day else text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:40]!a} is not a date or time such as 2026-12-31 or 2026-12-31T18:00."
        ) from None


class ListForm(DrawnForm):
    """A new list: its name, and what it is for."""

    name = forms.CharField(max_length=Allowlist._meta.get_field("name").max_length)
    target = forms.ChoiceField(label="For")

    def __init__(self, data: Any, actor: Actor) -> None:
        super().__init__(data)
        self.targets = targets_to_give(actor)
        choices = [(value, one.label) for value, one in self.targets.items()]
        self.fields["target"].choices = choices  # type: ignore[attr-defined]

    def clean_target(self) -> GrantTarget:
        return self.targets[self.cleaned_data["target"]]


class ChangeForm(DrawnForm):
    """A change of a list: lines of entries to put there, and entries to remove. The
    preview sends it again to save it, with the state of the list that it showed.
    """

    lines = MultilineField(
        label="Addresses and domains, one a line",
        required=False,
        max_length=MAX_CHARACTERS,
        help_text="dana@x.example, x.example, or *.x.example for its subdomains alone. "
        "Then, if you like, a note and the end: x.example, The fair, 2026-12-31",
        widget=forms.Textarea({"spellcheck": "false"}),
    )
    # The patterns of ticked entries; the request has the field once for each.
    remove = forms.Field(required=False, widget=forms.MultipleHiddenInput)
    seen = forms.CharField(required=False)

    def clean_remove(self) -> list[str]:
        return [str(one)[:320] for one in self.cleaned_data["remove"]]

    def clean(self) -> None:
        typed = self.cleaned_data
        try:
            typed["put"] = read_lines(typed.get("lines", ""))
        except ValueError as error:
            self.add_error("lines", str(error))
            return
        if len(typed["put"]) > MAX_LINES:
            self.add_error("lines", f"Enter at most {MAX_LINES:,} at a time.")
        if not (self.errors or typed["put"] or typed["remove"]):
            self.add_error("lines", "Enter at least one address or domain.")


class FindForm(LenientForm):
    """A search of entries."""

    q = forms.CharField(required=False, max_length=254)


def _visible_or_404(request: DeskRequest, list_id: int) -> Allowlist:
    visible = Allowlist.objects.at_work().visible_to(request.actor)
    return first_or_404(
        visible.filter(pk=list_id), "There is no such list, or you may not see it."
    )


def _lists_page(
    request: DeskRequest, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show the lists that the actor may see, what names them, and whether the gates have
    them.
    """
    actor = request.actor
    current = policies()
    rows = [
        (one, [part.name for part in naming(one, current.in_force.parts)])
        for one in Allowlist.objects.visible_to(actor).for_overview(timezone.now())
    ]
    context = {
        "lists": rows,
        "form": ListForm(request.POST or None, actor)
        if actor.has(Role.ADMIN)
        else None,
        "gates": GateList.objects.for_page(actor)[:PAGE],
    }
    return answer(request, "policy/allowlists.html", context, error)


allowlists = require_safe(_lists_page)


@require_POST
@changes(_lists_page, to="allowlists")
def add_list(request: DeskRequest) -> HttpResponse:
    """Make an empty list, and show its page."""
    wanted = cleaned(ListForm(request.POST, request.actor))
    made = add_allowlist(actor=request.actor, **wanted)
    return redirect_with_notice(request, "The list is made.", made.url)


def _list_page(
    request: DeskRequest,
    list_id: int,
    *,
    error: SentenceError | None = None,
    form: ChangeForm | None = None,
) -> HttpResponse:
    """Show one list and its entries, a page at a time. `form` is a filled-in form with
    errors, if there is one.
    """
    at = _visible_or_404(request, list_id)
    find = FindForm(request.GET)
    found = at.entries.found_by(find.value("q") or "").select_related("added_by")
    current = policies()
    context = {
        "at": at,
        "may_change": at.is_changed_by(request.actor),
        "named_by": naming(at, current.in_force.parts),
        "named_in_draft": naming(at, current.drafted.parts),
        "page": Paginator(found.order_by("pattern"), PAGE).get_page(
            request.GET.get("page")
        ),
        "live": at.entries.live(timezone.now()).count(),
        "find": find,
        "form": form or ChangeForm(),
    }
    return answer(request, "policy/allowlist.html", context, error, form=form)


allowlist = require_safe(_list_page)


@require_POST
@changes(_list_page, to="allowlists")
def delete_list(request: DeskRequest, list_id: int) -> str:
    """Delete a list that nothing names."""
    at = _visible_or_404(request, list_id)
    delete_named(row=at, actor=request.actor)
    return f"The list “{at}” is deleted."


@require_POST
def change_list(request: DeskRequest, list_id: int) -> HttpResponse:
    """Show what a change would do. Sent again with the state of the list that this
    showed, save it.
    """
    at = _visible_or_404(request, list_id)
    if not at.is_changed_by(request.actor):
        raise PermissionDenied(
            "Only an admin of all that this list covers can change it."
        )
    form = ChangeForm(request.POST)
    if not form.is_valid():
        return _list_page(request, list_id, form=form)
    put, remove = form.cleaned_data["put"], form.cleaned_data["remove"]
    error: SentenceError | None = None
    if seen := form.cleaned_data["seen"]:
        if not is_recently_authenticated(request):
            return ask_first(request)
        try:
            apply_change(
                allowlist=at, put=put, remove=remove, seen=seen, actor=request.actor
            )
        except StalePolicy as stale:
            error = stale
            at = _visible_or_404(request, list_id)
        except SentenceError as refused:
            return _list_page(request, list_id, error=refused)
        else:
            return redirect_with_notice(request, "Saved.", at.url)
    context = {
        "at": at,
        "steps": sorted(steps_of(at, put, remove), key=lambda one: one.did),
        "form": form,
        "seen": seen_state(in_words(at)),
    }
    return answer(request, "policy/allowlist_preview.html", context, error)
