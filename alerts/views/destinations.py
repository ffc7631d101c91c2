"""The pages of destinations: the list, the forms that add and change a destination and
its routes, and the buttons that test, switch and remove one. Everybody who signed in
can see the list; only an admin of everything can change something.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from alerts.channels import channel_of, shared_channels
from alerts.destinations import commands
from alerts.destinations.forms import DestinationForm, RouteForm
from alerts.destinations.wording import (
    destination_status,
    event_words,
    privacy_notes,
    sentence,
)
from alerts.errors import NotChanged
from alerts.models import Delivery, Destination
from common.pages import first_or_404, redirect_with_notice
from common.typed_secrets import posted_with_secrets
from people.second_admin.setting import mails_name_subjects
from people.sign_in.resource_views import ActionView, FormPageView, PageView


class DestinationList(PageView):
    """Shows the destinations with their state, and the newest deliveries with their
    answers. `failed` says why the test of a destination failed, by its key.
    """

    template_name = "alerts/alerts.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        # Who sees only some mail does not learn what else there is.
        is_hidden = not self.actor.sees_all()
        failed = kwargs.get("failed", {})
        rows = []
        for destination in Destination.objects.for_list():
            channel = channel_of(destination.kind)
            routes = destination.routes.all()
            rows.append(
                {
                    "destination": destination,
                    "channel": channel,
                    "address": channel.address(destination),
                    "status": destination_status(destination),
                    "shows": privacy_notes(channel)[destination.privacy],
                    "routes": [event_words(one, is_hidden=is_hidden) for one in routes],
                    "error": failed.get(destination.pk, ""),
                }
            )
        return super().get_context_data(
            rows=rows,
            deliveries=Delivery.objects.for_list(self.actor)[:10],
            may_manage=self.actor.is_admin_of_all,
            names_subjects=mails_name_subjects(),
            **kwargs,
        )


class DestinationView(PageView):
    """A view about a destination, or about one to add. Only for those who may manage
    destinations.
    """

    destination: Any = None

    def prepare(self) -> None:
        commands.check_may_manage(self.actor)
        if "destination_id" in self.kwargs:
            self.destination = first_or_404(
                Destination.objects.for_list().filter(pk=self.kwargs["destination_id"]),
                "There is no such destination. Somebody may have removed it.",
            )
            self.success_url = reverse("destination", args=[self.destination.pk])
        self.command_arguments = {"actor": self.actor, **self.kwargs}
        self.extra_context = {"destination": self.destination}

    def to_list(self, destination: Destination, notice: str) -> HttpResponse:
        # "setup" if the list leads back to the set-up page.
        back = self.request.GET.get("next")
        query = f"?{urlencode({'next': back})}" if back else ""
        address = f"{reverse('alerts')}{query}#destination-{destination.pk}"
        return redirect_with_notice(self.request, notice, address)

    def show_secret(
        self, destination: Destination, secret: str, **context: Any
    ) -> HttpResponse:
        """Render the page that shows a new secret, this once."""
        context = {"destination": destination, "secret": secret, **context}
        return render(self.request, "alerts/secret.html", context)


class DestinationPage(DestinationView):
    """The form of a destination, and its routes if it exists."""

    template_name = "alerts/destination.html"

    def destination_form(self, data: Any = None) -> DestinationForm:
        kind = self.request.GET.get("kind", "")
        return DestinationForm(
            data, destination=self.destination, initial={"kind": kind}
        )

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        destination = self.destination
        form = kwargs.setdefault("form", self.destination_form())
        if destination:
            kwargs["status"] = destination_status(destination)
            kwargs["routes"] = [
                (one, sentence(one), event_words(one))
                for one in destination.routes.all()
            ]
        return super().get_context_data(
            channel=form.channel,
            may_manage=True,
            kinds=shared_channels().values(),
            **kwargs,
        )


class EditDestination(FormPageView, DestinationPage):
    """Adds or changes a destination. Its address or token stay as they are if none is
    typed. After adding, the list offers a test; if the desk made a secret, a page shows
    it first, this once.
    """

    def get_form(self, form_class: Any = None) -> DestinationForm:
        return self.destination_form(posted_with_secrets(self.request))

    def change(self, form: DestinationForm) -> HttpResponse:
        is_new = self.destination is None
        command = commands.add_destination if is_new else commands.change_destination
        try:
            saved = command(**self.command_arguments, settings=form.cleaned_data)
        except NotChanged as error:
            form.add_error("answers_channel", error.sentence)
            return self.form_invalid(form)
        if is_new and form.channel.makes_secret:
            return self.show_secret(saved, saved.secret, is_new=True)
        notice = f"{saved} is changed."
        if is_new:
            notice = f"{saved} is added. Send a test to check it."
        elif saved.switched_off_at:
            notice += " It is still switched off: send a test, and switch it on again."
        return self.to_list(saved, notice)


class TestDestination(ActionView, DestinationView, DestinationList):
    """Posts a test, and says whether it was accepted. Waits for the service, four
    seconds at most.
    """

    is_sensitive = False

    def change(self, form: Any) -> HttpResponse:
        destination = self.destination
        result = commands.test_destination(**self.command_arguments)
        if not result.accepted:
            context = self.get_context_data(failed={destination.pk: result.sentence})
            return self.render_to_response(context, status=502)
        notice = f"{destination}: {result.sentence}"
        if destination.switched_off_at:
            notice += " Switch it on again to deliver there."
        return self.to_list(destination, notice)


class SwitchDestination(ActionView, DestinationView, DestinationList):
    on = False
    is_sensitive = False

    def change(self, form: Any) -> HttpResponse:
        command = commands.switch_on if self.on else commands.switch_off
        destination = command(**self.command_arguments)
        notice = "on. Send a test to check it." if self.on else "switched off."
        return self.to_list(destination, f"{destination} is {notice}")


class RemoveDestination(ActionView, DestinationView, DestinationList):
    is_sensitive = False

    def change(self, form: Any) -> HttpResponse:
        destination = commands.remove_destination(**self.command_arguments)
        return self.to_list(destination, f"{destination} is removed. Its posts stay.")


class RotateSecret(ActionView, DestinationPage):
    """Makes a new secret, and shows it this once. Events are signed with the old one
    too for a day, unless it leaked.
    """

    def change(self, form: Any) -> HttpResponse:
        leaked = self.request.POST.get("leaked") == "yes"
        overlap = timedelta(0) if leaked else commands.OVERLAP
        secret = commands.rotate_secret(**self.command_arguments, overlap=overlap)
        return self.show_secret(self.destination, secret, is_new=False, leaked=leaked)


class AddRoute(FormPageView, DestinationView):
    template_name = "alerts/route.html"
    form_class = RouteForm
    initial = {"events": ["email.held"], "place": ""}

    def change(self, form: RouteForm) -> HttpResponse | str:
        try:
            commands.add_route(**self.command_arguments, **form.cleaned_data)
        except NotChanged as error:
            form.add_error("events", error.sentence)
            return self.form_invalid(form)
        return f"The route to {self.destination} is added."


class RemoveRoute(ActionView, DestinationPage):
    is_sensitive = False

    def change(self, form: Any) -> str:
        commands.remove_route(**self.command_arguments)
        return "The route is removed."
