"""Addresses of the pages on which admins look after people."""

from django.urls import path

from people.directory.views import people, person
from people.invitations.views import invite_anew, invite_person, withdraw_invitation
from people.views.changing import (
    add_role,
    deactivate_person,
    password_link,
    reactivate_person,
    remove_discord,
    remove_role,
)
from people.views.second_factor import second_factor, set_rule, take_off

urlpatterns = [
    path("", people, name="people"),
    path("invite/", invite_person, name="invite"),
    path("invitations/<int:invitation_id>/anew/", invite_anew, name="invite-anew"),
    path("invitations/<int:invitation_id>/withdraw/", withdraw_invitation, name="withdraw-invitation"),
    path("second-factor/", second_factor, name="second-factor"),
    path("second-factor/set/", set_rule, name="set-second-factor"),
    path("<int:person_id>/factors/remove/", take_off, name="take-factors-off"),
    path("<int:person_id>/", person, name="person"),
    path("<int:person_id>/roles/add/", add_role, name="add-role"),
    path("<int:person_id>/roles/remove/", remove_role, name="remove-role"),
    path("<int:person_id>/deactivate/", deactivate_person, name="deactivate-person"),
    path("<int:person_id>/reactivate/", reactivate_person, name="reactivate-person"),
    path("<int:person_id>/password/", password_link, name="password-link"),
    path("<int:person_id>/discord/remove/", remove_discord, name="remove-discord"),
]
