"""What views and their forms share: one view gives two answers, the whole page for a
plain request and its fragment for an htmx one; forms say what is wrong, or refuse
nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods
from django_htmx.middleware import HtmxDetails

from common.actors import Actor

Row = TypeVar("Row", bound=Model)
View = Callable[..., HttpResponse]
# A view that changes something, and returns the notice to show.
Change = Callable[..., HttpResponse | str]

# For a view that shows a form, and takes it.
require_get_or_post = require_http_methods(["GET", "HEAD", "POST"])


class DeskRequest(HttpRequest):
    """A request that went through the desk's middleware: what htmx says of it, and who
    asks.
    """

    htmx: HtmxDetails
    actor: Actor


def wants_fragment(request: DeskRequest) -> bool:
    """Whether a part of the page is asked for. Boosted and history-restore requests
    replace the whole body.
    """
    htmx = request.htmx
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def page_or_fragment(
    request: DeskRequest,
    *,
    page: str,
    fragment: str,
    context: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    """Render `fragment` for an htmx request and `page` for everything else."""
    response = render(
        request, fragment if wants_fragment(request) else page, context, status=status
    )
    patch_vary_headers(response, ["HX-Request"])
    return response


def redirect_with_notice(
    request: HttpRequest, notice: str, to: str, **kwargs: Any
) -> HttpResponse:
    """Redirect to the URL named `to`, where the page shows `notice` once."""
    messages.info(request, notice, extra_tags="desk")
    response: HttpResponse = redirect(to, **kwargs)
    return response


def first_or_404(rows: QuerySet[Row], sentence: str) -> Row:
    """Return the first of these rows. Raises Http404 with the sentence, which the page
    shows, where there is none.
    """
    found = rows.first()
    if found is None:
        raise Http404(sentence)
    return found


def first_error(form: forms.BaseForm) -> tuple[str, str]:
    """Return the first field with an error, and the error; two empty strings where the
    form is valid.
    """
    return next(
        ((str(name), str(errors[0])) for name, errors in form.errors.items() if errors),
        ("", ""),
    )


def always(sentence: str) -> dict[str, str]:
    """Return the error messages of a field that says one thing, whatever is wrong."""
    bounds = ("min_value", "max_value", "min_length", "max_length")
    return dict.fromkeys(("required", "invalid", "invalid_choice", *bounds), sentence)


def by_key(rows: Iterable[Model]) -> dict[str, str]:
    """Return rows to choose from, by what a form sends for them."""
    return {str(one.pk): str(one) for one in rows}


class WordsField(forms.CharField):
    """Text of several lines, counted as the browser counts it: a form sends each end of
    line as two characters.
    """

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class SentenceForm(forms.Form):
    """A form whose errors are sentences: one at a time, or the first of each field."""

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return first_error(self)[1]

    def errors_by_field(self) -> dict[str, str]:
        """Return the first thing that is wrong with each field, by its name."""
        return {name: str(errors[0]) for name, errors in self.errors.items() if errors}


class ChoicesForm(SentenceForm):
    """A form with fields whose choices, by the field's name, depend on who fills it in."""

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
    """A form of optional fields in which what is ill-formed counts as left out."""

    def value(self, name: str) -> Any:
        """Return the value of a field, as its empty value or None where none is given."""
        self.is_valid()
        return self.cleaned_data.get(name)
