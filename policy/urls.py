"""The URLs of the pages of allowlists, groups, calendars, review plans and duty."""

from django.urls import path

from policy import groups_and_hours
from policy import review_plan_pages as plans
from policy.allowlists import pages as allowlists

urlpatterns = [
    path("allowlists/", allowlists.allowlists, name="allowlists"),
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
    path("policy/groups/", groups_and_hours.groups_and_hours, name="groups-and-hours"),
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
    ("policy/groups", "policy-group", groups_and_hours.GroupForm),
    ("policy/hours", "calendar", groups_and_hours.CalendarForm),
):
    of_kind = {"form_class": form_class}
    urlpatterns += [
        path(f"{where}/add/", groups_and_hours.edit, of_kind, name=f"add-{name}"),
        path(f"{where}/<int:row_id>/", groups_and_hours.edit, of_kind, name=name),
        path(
            f"{where}/<int:row_id>/delete/",
            groups_and_hours.delete,
            of_kind,
            name=f"delete-{name}",
        ),
    ]
