"""The pages of allowlists: all lists, one list with its entries, a change of them with
its preview, the export, and mail that gates refused.

Entries are typed or come in a file, in the same form: on each line the pattern, and
optionally a note and the end. An export writes it, and can be read again.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor, Role
from common.csv_rows import MARK, csv_row, without_escapes
from common.drawn_forms import DrawnForm
from common.errors import SentenceError
from common.mail_addresses import compared, is_pattern, read_pattern
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
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from people.roles import GrantTarget, targets_to_give
from people.sign_in.reauthentication import (
    ask_first,
    is_recently_authenticated,
    reauthenticated,
)
from policy.allowlists import gates
from policy.allowlists.changes import (
    NOT_YOURS,
    WantedEntry,
    add_allowlist,
    apply_change,
    delete_allowlist,
    in_words,
    names,
    note_export,
    steps_of,
)
from policy.errors import StalePolicy, seen_state
from policy.models import AllowEntry, Allowlist, GateList, GateRefusal
from policy.rules.changes import policies

# Rows of a page.
PAGE = 100
# Entries that can be added at a time.
MAX_LINES = 20_000
# Of a file, or typed. The preview's form sends the text again, and a form may have at
# most one mebibyte.
MAX_BYTES = 900_000
COLUMNS = ("pattern", "note", "ends")
MAX_NOTE = 300
# How long a refused address is allowed by its button.
DAYS = 7


def read_lines(text: str) -> tuple[dict[str, WantedEntry], list[tuple[int, str]]]:
    """Return the entries of a text by pattern, and its faulty lines as (number, what is
    wrong). Commas, semicolons or tabs divide them, whichever the first line has most of;
    that may be the names of the columns.
    """
    lines = text.splitlines()
    first = lines[0] if lines else ""
    delimiter = max(",;\t", key=first.count)
    entries: dict[str, WantedEntry] = {}
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        try:
            [row] = csv.reader(
                [line], delimiter=delimiter, skipinitialspace=True, strict=True
            )
            cells = [without_escapes(" ".join(cell.split())) for cell in row]
            if not any(cells) or (number == 1 and cells[0].lower() == COLUMNS[0]):
                continue
            if any(cells[len(COLUMNS) :]):
                raise ValueError("It has more than a pattern, a note and an end.")
            pattern, note, ends, *_ = *cells, "", ""
            pattern = read_pattern(pattern)
            if len(note) > MAX_NOTE:
                raise ValueError(f"The note is longer than {MAX_NOTE} characters.")
            if pattern in entries:
                raise ValueError(f"{pattern} is on an earlier line.")
            entries[pattern] = WantedEntry(pattern, note, _moment(ends))
        except csv.Error as error:
            problems.append((number, f"It cannot be read as CSV: {error}."))
        except ValueError as error:
            problems.append((number, str(error)))
    return entries, problems


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


def _written(entries: Iterable[AllowEntry]) -> Iterator[str]:
    yield MARK + csv_row(COLUMNS)
    for one in entries:
        ends = one.expires_at.isoformat() if one.expires_at else ""
        yield csv_row((one.pattern, one.note, ends))


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
    """A change of a list: lines of entries to add, typed or in a file, and entries to
    remove. The preview sends it again to save it, with the state of the list that it
    showed.
    """

    lines = MultilineField(
        label="Addresses and domains, one a line",
        required=False,
        strip=False,
        max_length=MAX_BYTES,
        help_text="dana@x.example, x.example, or *.x.example for its subdomains alone. "
        "Then, if you like, a note and the end: x.example, The fair, 2026-12-31",
        widget=forms.Textarea({"spellcheck": "false"}),
    )
    file = forms.FileField(
        label="Or a file of such lines",
        required=False,
        widget=forms.FileInput({"accept": ".csv, .txt, text/csv, text/plain"}),
    )
    # Whether entries that are not named are removed.
    whole = forms.BooleanField(
        label="Remove entries that are not named here", required=False
    )
    # The patterns of ticked entries; the request has the field once for each.
    remove = forms.Field(required=False, widget=forms.MultipleHiddenInput)
    seen = forms.CharField(required=False)

    def clean_file(self) -> str:
        upload = self.cleaned_data["file"]
        if upload is None:
            return ""
        if upload.size > MAX_BYTES:
            raise forms.ValidationError(
                "The file is larger than 900 KB. Split it into several files."
            )
        try:
            text = str(upload.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise forms.ValidationError(
                "The file is not text in UTF-8. Save it as CSV in UTF-8, then try again."
            )
        return text

    def clean(self) -> None:
        typed = self.cleaned_data
        if self.errors:
            return
        field = "file" if typed["file"] else "lines"
        is_both = typed["file"] and typed["lines"].strip()
        typed["lines"] = typed["file"] or typed["lines"]
        put, problems = read_lines(typed["lines"])
        typed["put"], typed["problems"] = put, problems
        if is_both:
            self.add_error(field, "Type the lines or choose a file, not both.")
        if typed["whole"] and problems:
            number, sentence = problems[0]
            self.add_error(
                field,
                f"Line {number}: {sentence} Lines that replace the list must have no errors.",
            )
        if len(put) > MAX_LINES:
            self.add_error(field, f"Enter at most {MAX_LINES:,} at a time.")
        if not (put or typed["remove"]):
            self.add_error(field, "Enter at least one valid address or domain.")

    def wanted(self, at: Allowlist) -> tuple[list[WantedEntry], list[str]]:
        """Return the entries to add or change in this list, and the patterns to remove."""
        put = self.cleaned_data["put"]
        remove = [str(one)[:320] for one in self.cleaned_data["remove"]]
        if self.cleaned_data["whole"]:
            present = at.entries.not_removed().values_list("pattern", flat=True)
            remove = [one for one in present if one not in put]
        return list(put.values()), remove


class FindForm(LenientForm):
    """A search of entries: a text, and whether to show removed ones, too."""

    q = forms.CharField(required=False, max_length=254)
    past = forms.BooleanField(required=False)


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
        (one, [part.name for part in current.active_parts if names(part, one)])
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
    rows = at.entries.not_removed()
    found = at.entries.all() if find.value("past") else rows
    found = found.found_by(find.value("q") or "")
    found = found.select_related("added_by", "removed_by").order_by("pattern", "-pk")
    current = policies()
    context = {
        "at": at,
        "may_change": at.is_within(request.actor, Role.ADMIN),
        "named_by": [one for one in current.active_parts if names(one, at)],
        "named_in_draft": [one for one in current.draft_parts if names(one, at)],
        "page": Paginator(found, PAGE).get_page(request.GET.get("page")),
        "live": rows.live(timezone.now()).count(),
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
    delete_allowlist(allowlist=at, actor=request.actor)
    return f"The list “{at}” is deleted."


@require_POST
def change_list(request: DeskRequest, list_id: int) -> HttpResponse:
    """Show what a change would do. Sent again with the state of the list that this
    showed, save it.
    """
    at = _visible_or_404(request, list_id)
    if not at.is_within(request.actor, Role.ADMIN):
        return _list_page(request, list_id, error=ActNotAllowed(NOT_YOURS))
    form = ChangeForm(request.POST, request.FILES)
    if not form.is_valid():
        return _list_page(request, list_id, form=form)
    put, remove = form.wanted(at)
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
            put, remove = form.wanted(at)
        except SentenceError as refused:
            return _list_page(request, list_id, error=refused)
        else:
            return redirect_with_notice(request, "Saved.", at.url)
    context = {
        "at": at,
        "steps": sorted(steps_of(at, put, remove), key=lambda one: one.did),
        "problems": form.cleaned_data["problems"],
        "form": form,
        "seen": seen_state(in_words(at)),
    }
    return answer(request, "policy/allowlist_preview.html", context, error)


@require_POST
@reauthenticated
def export(request: DeskRequest, list_id: int) -> HttpResponseBase:
    """Export the entries that match the search as a CSV file; the ledger records it."""
    at = _visible_or_404(request, list_id)
    text = FindForm(request.POST).value("q") or ""
    rows = at.entries.not_removed().found_by(text).order_by("pattern")
    note_export(at=at, actor=request.actor, number=rows.count(), text=text)
    file = StreamingHttpResponse(
        _written(rows.iterator(chunk_size=2000)),
        content_type="text/csv; charset=utf-8",
    )
    file["Content-Disposition"] = f'attachment; filename="allowlist-{at.pk}.csv"'
    return file


@require_safe
def refusals(request: DeskRequest) -> HttpResponse:
    """Show the mail that gates refused, newest first: from which key, to whom, by which
    rule; and the lists on which an admin can put an address.
    """
    visible = GateRefusal.objects.visible_to(request.actor).order_by("-pk")
    named = visible.select_related("connection", "mailbox")
    page = Paginator(named, PAGE).get_page(request.GET.get("page"))
    boxes = {one.mailbox for one in page}
    lists = {box: _lists_to_allow(request.actor, box) for box in boxes}
    rows = []
    for one in page:
        # By address, the pattern that would allow it, empty if none does.
        refused = {}
        for address in one.refused:
            pattern = compared(address) or ""
            refused[address] = pattern if is_pattern(pattern) else ""
        others = [each for each in one.recipients if each not in refused]
        rows.append((one, refused, lists[one.mailbox], others))
    ends = timezone.now() + timedelta(days=DAYS)
    context = {
        "rows": rows,
        "page": page,
        "entry": f"Allowed for {DAYS} days, {ends:%Y-%m-%dT%H:%M}",
    }
    return answer(request, "policy/refusals.html", context)


def _lists_to_allow(actor: Actor, mailbox: Mailbox | None) -> list[Allowlist]:
    """Return the lists of the rules that refuse mail at the gate of this mailbox, which
    the actor administers.
    """
    named = gates.lists_at(mailbox) if mailbox else ()
    lists = Allowlist.objects.at_work().filter(pk__in=named)
    return [one for one in lists if one.is_within(actor, Role.ADMIN)]
