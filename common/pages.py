"""Helpers for the views and forms of all apps: pages and fragments, redirects with a
notice, 404s, and forms whose errors are sentences or that draw themselves.

A view answers a plain request with a page, and an htmx request with a fragment of it.

`templates/_form.html` draws a form, and `templates/_field.html` each field with its label, note and error.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import filter as matching
from functools import wraps
from typing import Any, ClassVar, Self, TypeVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.forms.renderers import TemplatesSetting
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods
from django_htmx.middleware import HtmxDetails

from common.actors import Actor
from common.errors import SentenceError
from common.tables import table_rows

Row = TypeVar("Row", bound=Model)
View = Callable[..., HttpResponse]
# A view that changes something. It returns an answer, or the notice for the page to
# which its decorator redirects.
ChangeView = Callable[..., HttpResponse | str]

# For a view that shows a form, and handles it.
require_get_or_post = require_http_methods(["GET", "HEAD", "POST"])


class DeskRequest(HttpRequest):
    """A request after the middleware, which has added the actor and htmx's headers."""

    htmx: HtmxDetails
    actor: Actor


def wants_fragment(request: DeskRequest) -> bool:
    """Whether the answer is a fragment. Boosted and history-restore requests come from
    htmx too, and replace the whole body.
    """
    htmx = request.htmx
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what a form sent, to bind a form to it; None if its page was opened."""
    return request.POST if request.method == "POST" else None


def page_or_fragment(
    request: DeskRequest,
    *,
    page: str,
    fragment: str,
    context: dict[str, Any],
    error: SentenceError | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render `fragment` for an htmx request and `page` for everything else; if a change
    failed, with its `error` and that error's status.
    """
    # Set without an error, too: Django is slow for a missing key, and templates ask often.
    context.setdefault("error", error.sentence if error else "")
    if error:
        status = error.status
    template = fragment if wants_fragment(request) else page
    response = render(request, template, context, status=status)
    patch_vary_headers(
        response, ["HX-Request", "HX-Boosted", "HX-History-Restore-Request"]
    )
    return response


def redirect_with_notice(
    request: HttpRequest, notice: str, to: str, **kwargs: Any
) -> HttpResponse:
    """Redirect to the URL named `to`, where the page shows `notice`, if any, once."""
    if notice:
        messages.info(request, notice, extra_tags="desk")
    response: HttpResponse = redirect(to, **kwargs)
    return response


def answer(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    error: SentenceError | None = None,
    *,
    form: Any = None,
) -> HttpResponse:
    """Render a page. If it shows the `error` of a change that failed, it has the
    error's status; if it shows the errors of this form, 422.
    """
    status = 422 if form and form.errors else 200
    if error:
        status = error.status
    context = {**context, "error": error.sentence if error else ""}
    return render(request, template, context, status=status)


def changes(
    page: Callable[..., HttpResponse], to: str, *, is_same: bool = False
) -> Callable[[ChangeView], View]:
    """Decorate a view that changes something. The notice that it returns is shown at
    the URL named `to`, which has the arguments of the view's URL if `is_same`. If the
    change fails, `page` shows the error; it gets the arguments of the view.
    """

    def decorate(view: ChangeView) -> View:
        @wraps(view)
        def changed(request: DeskRequest, **of_url: Any) -> HttpResponse:
            try:
                outcome = view(request, **of_url)
            except SentenceError as error:
                return page(request, **of_url, error=error)
            if isinstance(outcome, HttpResponse):
                return outcome
            arguments = of_url if is_same else {}
            return redirect_with_notice(request, outcome, to, **arguments)

        return changed

    return decorate


def admin_or_403(request: DeskRequest) -> Actor:
    """Return the actor. Raises PermissionDenied if they are no admin of everything."""
    only_for("an admin of everything", request.actor.is_admin_of_all)
    return request.actor


def only_for(who: str, is_one: bool) -> None:
    """Raise PermissionDenied, with the role that it takes, unless they have it."""
    if not is_one:
        raise PermissionDenied(f"Only {who} can open or change this.")


def first_or_404(rows: QuerySet[Row], sentence: str) -> Row:
    """Return the first of these rows. If there is none, raises Http404 with the
    sentence, which the page shows.
    """
    row = rows.first()
    if row is None:
        raise Http404(sentence)
    return row


def same_error(sentence: str) -> dict[str, str]:
    """Return `error_messages` for a field: this sentence, whatever is wrong with it."""
    bounds = ("min_value", "max_value", "min_length", "max_length")
    digits = ("max_digits", "max_decimal_places", "max_whole_digits")
    wrong = ("required", "invalid", "invalid_choice", *bounds, *digits)
    return dict.fromkeys(wrong, sentence)


class MultilineField(forms.CharField):
    """Text of several lines. A browser sends each end of line as two characters, but
    counts it as one for `maxlength`; so does this field.
    """

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class DayField(forms.DateField):
    """A day, chosen in the browser's calendar."""

    widget = forms.DateInput({"type": "date"}, "%Y-%m-%d")
    default_error_messages = {"invalid": "Enter a date such as 2026-12-24."}


def tick_field(label: str, help_text: str = "") -> forms.BooleanField:
    """Return a checkbox that need not be ticked."""
    return forms.BooleanField(label=label, help_text=help_text, required=False)


class SentenceForm(forms.Form):
    """A form whose page shows one error of each field, or only the first of all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.error_messages.setdefault(
                "max_length", "Use at most %(limit_value)d characters."
            )

    def first_error(self) -> str:
        """Return the first error, as a sentence; empty if the form is valid."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")


class FormInvalid(SentenceError):
    """The input is not valid. `form` has the errors of each field."""

    status = 422

    def __init__(self, form: SentenceForm) -> None:
        super().__init__(form.first_error())
        self.form = form


def cleaned(form: SentenceForm) -> dict[str, Any]:
    """Return the form's cleaned data. Raises FormInvalid if it is not valid."""
    if not form.is_valid():
        raise FormInvalid(form)
    return form.cleaned_data


class ChoicesForm(SentenceForm):
    """A form whose choices depend on who fills it in; they are given by the field's
    name.
    """

    def __init__(
        self,
        *args: Any,
        choices: Mapping[str, Iterable[tuple[str, str]]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, offered in choices.items():
            self.fields[name].choices = list(offered)  # type: ignore[attr-defined]


class LenientForm(forms.Form):
    """A form of optional fields, as in a query string. An invalid value is ignored."""

    def value(self, name: str) -> Any:
        """Return the value of a field; its empty value if none was given, None if it
        was invalid.
        """
        self.is_valid()
        return self.cleaned_data.get(name)


class FiltersForm(forms.Form):
    """Draws the filters of a list, which the form element with the id `sender` sends.
    It checks nothing: a list reads them together with those that are typed as words.
    `table` has a row for each: name, label and an example, or `choices` by its name.
    """

    def __init__(
        self,
        filters: dict[str, Any],
        *,
        table: str,
        sender: str,
        **choices: Mapping[Any, Any],
    ) -> None:
        super().__init__(initial=filters, auto_id="f-%s")
        self.sender = sender
        for name, label, example in table_rows(table):
            field = forms.CharField(label=label, required=False)
            field.widget.attrs = {"placeholder": example, "autocomplete": "off"}
            if name in choices:
                offered = [("", "Any"), *choices[name].items()]
                field.widget = forms.Select(choices=offered)
            field.widget.attrs["form"] = sender
            self.fields[name] = field


# Attributes of an input for an address or a name that no keyboard may correct.
VERBATIM = {"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}

# Those of an input for a code that somebody sent.
CODE_INPUT = {
    "class": "mono code",
    "autocapitalize": "characters",
    "autocomplete": "one-time-code",
    "spellcheck": "false",
}


class NotedChoice(str):
    """A choice's label, with a note that explains the choice."""

    note: str

    def __new__(cls, label: str, note: str = "") -> Self:
        choice = super().__new__(cls, label)
        choice.note = note
        return choice


class DrawnField(forms.BoundField):
    """A field whose widget looks like those of the desk."""

    def build_widget_attrs(self, attrs: Any, widget: Any = None) -> Any:
        if self.widget_type not in (
            "checkbox",
            "checkboxselectmultiple",
            "radioselect",
        ):
            own = self.field.widget.attrs.get("class", "")
            attrs = {"class": f"input {own}".rstrip(), **attrs}
        return super().build_widget_attrs(attrs, widget)


class DeskRenderer(TemplatesSetting):
    """Draws all forms and their fields by templates of the desk."""

    form_template_name = "_fields.html"
    field_template_name = "_field.html"
    bound_field_class = DrawnField


@dataclass(frozen=True)
class Section:
    """Fields of a form under a heading; `part` is the heading above several sections.
    `add` labels the box that adds sections to the part, if it has one.
    """

    part: str
    title: str
    fields: list[forms.BoundField]
    note: str
    is_open: bool
    add: str


class DrawnForm(SentenceForm):
    """A form in sections. `layout` has a row for each (`common.tables`): part, title,
    the names of its fields or patterns of names, and a note. A section is open if its
    title begins with "*", or if a field in it is wrong or filled in; fields named in
    `preset` always have a value, which does not count. `parts` has the heading of a part
    whose other sections stay away until they are added, and the label for that; with
    `adds_in_turn` a button adds the next one. `above` is a template for fields that
    stand above the sections.
    """

    layout: ClassVar[str] = ""
    preset: ClassVar[Collection[str]] = ()
    parts: ClassVar[Mapping[str, tuple[str, str]]] = {}
    adds_in_turn: ClassVar[bool] = False
    above: ClassVar[str] = ""

    def show(self, name: str, value: object) -> None:
        """Show this value of a field in place of the one that was sent."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        data[name] = str(value)
        self.data = data

    def sections(self) -> list[Section]:
        """Return the sections with their fields, in order."""
        sections = []
        for part, title, names, note in table_rows(self.layout):
            fields = [
                self[one]
                for name in names.split()
                for one in matching(self.fields, name)
            ]
            is_open = title.startswith("*") or any(
                one.errors or (one.value() and one.name not in self.preset)
                for one in fields
            )
            heading, add = self.parts.get(part, (part, ""))
            title = title.strip("* ")
            sections.append(Section(heading, title, fields, note, is_open, add))
        return sections
