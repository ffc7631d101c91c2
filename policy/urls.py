"""The URLs of the pages of allowlists, groups, calendars, review plans and duty."""

from django.urls import path

from policy import groups_and_hours
from policy.allowlists import pages as allowlists
from policy.plans import pages as plans

_GROUP = {"form_class": groups_and_hours.GroupForm}
_CALENDAR = {"form_class": groups_and_hours.CalendarForm}

urlpatterns = [
    path("allowlists/", allowlists.allowlists, name="allowlists"),
    path("allowlists/refusals/", allowlists.refusals, name="refusals"),
    path("allowlists/add/", allowlists.add_list, name="add-allowlist"),
    path("allowlists/<int:list_id>/", allowlists.allowlist, name="allowlist"),
    path(
        "allowlists/<int:list_id>/change/",
        allowlists.change_list,
        name="change-allowlist",
    ),
    path(
        "allowlists/<int:list_id>/delete/",
        allowlists.delete_list,
        name="delete-allowlist",
    ),
    path(
        "allowlists/<int:list_id>/export/", allowlists.export, name="export-allowlist"
    ),
    path("policy/groups/", groups_and_hours.groups_and_hours, name="groups-and-hours"),
    path("policy/groups/add/", groups_and_hours.edit, _GROUP, name="add-policy-group"),
    path(
        "policy/groups/<int:row_id>/",
        groups_and_hours.edit,
        _GROUP,
        name="policy-group",
    ),
    path(
        "policy/groups/<int:row_id>/delete/",
        groups_and_hours.delete,
        _GROUP,
        name="delete-policy-group",
    ),
    path("policy/hours/add/", groups_and_hours.edit, _CALENDAR, name="add-calendar"),
    path(
        "policy/hours/<int:row_id>/", groups_and_hours.edit, _CALENDAR, name="calendar"
    ),
    path(
        "policy/hours/<int:row_id>/delete/",
        groups_and_hours.delete,
        _CALENDAR,
        name="delete-calendar",
    ),
    path("review-plans/", plans.review_plans, name="review-plans"),
    path("review-plans/duty/", plans.add_duty, name="add-duty"),
    path("review-plans/duty/<int:turn_id>/end/", plans.end_duty, name="end-duty"),
    path("review-plans/<int:mailbox_id>/", plans.review_plan, name="review-plan"),
    path(
        "review-plans/<int:mailbox_id>/delete/",
        plans.remove_review_plan,
        name="remove-review-plan",
    ),
]
