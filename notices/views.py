"""The page of a person's notices, and the ways to read them."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.signing import BadSignature
from django.db.models import Q
from django.db.models.functions import Now
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor
from common.pages import (
    DeskRequest,
    DrawnForm,
    answer,
    first_or_404,
    page_or_fragment,
    redirect_with_notice,
    require_get_or_post,
)
from mirror.models import Connection, Mailbox
from notices.models import NAMED_IN_CHAT, Cause, Notice, Preferences
from notices.preferences import (
    cause_to_stop,
    change_preferences,
    preferences_of,
    stop_mail,
)
from notices.wording import shown
from people.models import Grant, Person

# How many notices the page lists.
LISTED = 100


@require_safe
def notices(request: DeskRequest) -> HttpResponse:
    """List the person's notices, newest first."""
    rows = Notice.objects.for_list(request.actor).filter(on_desk=True)[:LISTED]
    return page_or_fragment(
        request,
        page="notices/notices.html",
        fragment="notices/_list.html",
        context={"rows": [shown(one) for one in rows]},
    )


@require_safe
def open_notice(request: DeskRequest, notice_id: int) -> HttpResponse:
    """Mark a notice as read, and redirect to what it is about."""
    notices = Notice.objects.for_list(request.actor).filter(pk=notice_id)
    notice = first_or_404(notices, "This notice is not yours, or what it says is over.")
    notices.filter(read_at=None).update(read_at=Now())
    return redirect(shown(notice).path)


@require_POST
def read_notices(request: DeskRequest, notice_id: int | None = None) -> HttpResponse:
    """Mark a notice as read, or all."""
    unread = Notice.objects.unread(request.actor)
    chosen = {"on_desk": True} if notice_id is None else {"pk": notice_id}
    number = unread.filter(**chosen).update(read_at=Now())
    notice = f"{number} notice{'' if number == 1 else 's'} marked as read."
    return redirect_with_notice(request, notice, "notices")


class _Time(forms.TimeInput):
    input_type = "time"


# What happens to the account is always told.
_CHOICES = [one for one in Cause if one != Cause.ACCOUNT]


def _causes_field(
    label: str, causes: Sequence[Cause] = _CHOICES
) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=label,
        required=False,
        choices=[(one.value, one.label) for one in causes],
        widget=forms.CheckboxSelectMultiple,
    )


class PreferencesForm(DrawnForm, forms.ModelForm):  # type: ignore[type-arg]
    """What a person is told, and how."""

    above = "notices/_causes.html"
    layout = """
| * Mail | mail_after |
| * Quiet hours, in your time zone | quiet_from quiet_until | Mail and push wait, except for the last step of a plan.
| * Out of office | stand_in | While you are out of office, somebody else is notified about what waits for you.
"""

    desk = _causes_field("List")
    mail = _causes_field("Mail")
    push = _causes_field("Push")
    chat = _causes_field("Chat", NAMED_IN_CHAT)
    mail_after = forms.IntegerField(
        label="Minutes before a mail is sent, if it still waits",
        min_value=0,
        max_value=1440,
    )
    quiet_from = forms.TimeField(label="From", required=False, widget=_Time)
    quiet_until = forms.TimeField(label="Until", required=False, widget=_Time)
    stand_in = forms.ModelChoiceField(
        Person.objects.none(),
        label="Notify instead of me",
        required=False,
        empty_label="Nobody",
    )

    class Meta:
        model = Preferences
        fields = (
            "desk",
            "mail",
            "push",
            "chat",
            "mail_after",
            "quiet_from",
            "quiet_until",
            "stand_in",
        )

    def ways(self) -> list[forms.BoundField]:
        """Return the fields of the ways, each with its causes."""
        return [self[name] for name in ("desk", "mail", "push", "chat")]

    def causes(self) -> list[tuple[Cause, list[forms.boundfield.BoundWidget | None]]]:
        """Return each cause with the tick box of each way; None for a way that never
        tells of it.
        """
        boxes = [
            {one.data["value"]: one for one in way.subwidgets} for way in self.ways()
        ]
        return [(one, [by.get(one.value) for by in boxes]) for one in _CHOICES]

    def __init__(self, data: Any, actor: Actor) -> None:
        person = Person.objects.get(pk=actor.person_id)
        super().__init__(data, instance=preferences_of(person))
        # Those who have a role for something that the person sees.
        roles = Grant.objects.filter(
            Q(connection=None, mailbox=None)
            | Q(mailbox__in=Mailbox.objects.visible_to(actor))
            | Q(connection__in=Connection.objects.visible_to(actor))
        )
        others = Person.objects.filter(is_active=True, pk__in=roles.values("person"))
        field: Any = self.fields["stand_in"]
        field.queryset = others.exclude(pk=person.pk) if actor.scopes else others.none()

    def clean(self) -> None:
        """Refuse quiet hours without both ends."""
        ends = [self.cleaned_data.get(one) for one in ("quiet_from", "quiet_until")]
        if ends.count(None) == 1:
            self.add_error("quiet_until", "Enter both times, or neither.")


@require_get_or_post
def edit_preferences(request: DeskRequest) -> HttpResponse:
    """Show what the person is mailed, and store what they choose."""
    form = PreferencesForm(request.POST or None, request.actor)
    if form.is_valid():
        change_preferences(request.actor, **form.cleaned_data)
        return redirect_with_notice(request, "Saved.", "notice-preferences")
    context = {"form": form, "is_mailed": bool(settings.EMAIL_URL)}
    return answer(request, "notices/preferences.html", context, form=form)


# A mail program posts here without a session, and so without a form's token (RFC 8058).
@csrf_exempt
@login_not_required
@require_get_or_post
def stop(request: DeskRequest, signed: str) -> HttpResponse:
    """End the mails of one cause for the person of this link; ask first, if the link
    was only opened.
    """
    try:
        person, cause = cause_to_stop(signed)
    except BadSignature:
        raise Http404("This link is not complete.") from None
    is_done = request.method == "POST"
    if is_done:
        stop_mail(person, cause)
    return render(request, "notices/stop.html", {"cause": cause, "is_done": is_done})
