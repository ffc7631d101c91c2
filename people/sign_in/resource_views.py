"""Base classes for the views of a resource, such as an API key: its pages, the forms
that change it, and the buttons and forms on a page of it.

They are Django's TemplateView and FormView with two methods more: `prepare` finds what
a view is about and checks who may open it, and `change` makes the change of a form.
"""

from typing import Any

from django import forms
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.views.generic import FormView, TemplateView

from common.actors import Actor
from common.errors import SentenceError
from common.pages import DeskRequest, redirect_with_notice
from common.typed_secrets import posted_with_secrets, save_secrets
from people.sign_in.reauthentication import ask_first, is_recently_authenticated


class PageView(TemplateView):
    """A page that can show why a change failed."""

    http_method_names = ["get", "head"]
    request: DeskRequest
    actor: Actor
    extra_context: dict[str, Any]
    # What `change` gives to each command, such as the actor.
    command_arguments: dict[str, Any]
    success_url: Any
    # Whether people must have reauthenticated recently.
    is_sensitive = False

    def setup(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.actor = request.actor
        self.extra_context = {}

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Check the method, then who may open this, and then that it is them."""
        if request.method.lower() not in self.http_method_names:
            return self.http_method_not_allowed(request)
        self.prepare()
        if self.is_sensitive and not is_recently_authenticated(request):
            return ask_first(request)
        return self.handle()

    def prepare(self) -> None:
        """Find what the URL names. Raises Http404 or PermissionDenied."""

    def handle(self) -> HttpResponseBase:
        """Call `get` or `post`."""
        return super().dispatch(self.request, **self.kwargs)

    def show_error(self, error: SentenceError, **context: Any) -> HttpResponse:
        """Render the page with the error, and with its status."""
        context = self.get_context_data(error=error, **context)
        return self.render_to_response(context, status=error.status)


class FormPageView(FormView, PageView):  # type: ignore[type-arg]
    """A page with a form. Sending the form makes a change, which is sensitive unless
    the view says that it is not.
    """

    http_method_names = ["get", "head", "post"]
    # A button has no fields.
    form_class = forms.Form
    # What the page's template calls the form.
    form_name = "form"
    is_sensitive = True

    def change(self, form: Any) -> HttpResponse | str:
        """Make the change. Return a response, or a notice to show at the success URL.
        If this raises a SentenceError, the page shows it, and what was typed.
        """
        raise NotImplementedError

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "data": posted_with_secrets(self.request)}

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            outcome = self.change(form)
        except SentenceError as error:
            # Some of the change may have been saved before it failed.
            self.prepare()
            save_secrets(self.request, form)
            return self.show_error(error, **{self.form_name: form})
        if isinstance(outcome, HttpResponse):
            return outcome
        return redirect_with_notice(self.request, outcome, self.get_success_url())

    def form_invalid(self, form: Any) -> HttpResponse:
        save_secrets(self.request, form)
        context = self.get_context_data(**{self.form_name: form})
        return self.render_to_response(context, status=422)


class ActionView(FormPageView):
    """A button or a form on a page. Inherit that page too: it shows what went wrong."""

    http_method_names = ["post"]
    # Most have no form that is shown again.
    form_name = "action_form"
