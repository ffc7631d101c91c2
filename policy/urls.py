"""The URLs of the pages of allowlists, groups, calendars, review plans and duty."""

from django.urls import path

from policy import pages
from policy import review_plan_pages as plans

urlpatterns = [
    path("allowlists/", pages.allowlists, name="allowlists"),
    path("allowlists/add/", pages.add_list, name="add-allowlist"),
    path("allowlists/<int:list_id>/", pages.allowlist, name="allowlist"),
    path(
        "allowlists/<int:list_id>/change/", pages.change_list, name="change-allowlist"
    ),
    path(
        "allowlists/<int:list_id>/delete/", pages.delete_list, name="delete-allowlist"
    ),
    path("policy/groups/", pages.groups_and_hours, name="groups-and-hours"),
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

for where, name, form_class in (
    ("policy/groups", "policy-group", pages.GroupForm),
    ("policy/hours", "calendar", pages.CalendarForm),
):
    of_kind = {"form_class": form_class}
    urlpatterns += [
        path(f"{where}/add/", pages.edit, of_kind, name=f"add-{name}"),
        path(f"{where}/<int:row_id>/", pages.edit, of_kind, name=name),
        path(
            f"{where}/<int:row_id>/delete/",
            pages.delete,
            of_kind,
            name=f"delete-{name}",
        ),
    ]
