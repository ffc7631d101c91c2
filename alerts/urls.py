"""The URLs of the alerts pages, and those that a channel adds, such as the address to
which Discord sends interactions.
"""

from django.urls import include, path

from alerts.channels import all_channels
from alerts.views import destinations, forecast, log, ways

urlpatterns = [
    path("alerts/", destinations.DestinationList.as_view(), name="alerts"),
    path("alerts/add/", destinations.EditDestination.as_view(), name="add-destination"),
    path(
        "alerts/<int:destination_id>/",
        destinations.EditDestination.as_view(),
        name="destination",
    ),
    path(
        "alerts/<int:destination_id>/test/",
        destinations.TestDestination.as_view(),
        name="test-destination",
    ),
    path(
        "alerts/<int:destination_id>/on/",
        destinations.SwitchDestination.as_view(on=True),
        name="switch-on-destination",
    ),
    path(
        "alerts/<int:destination_id>/off/",
        destinations.SwitchDestination.as_view(),
        name="switch-off-destination",
    ),
    path(
        "alerts/<int:destination_id>/secret/",
        destinations.RotateSecret.as_view(),
        name="rotate-destination",
    ),
    path(
        "alerts/<int:destination_id>/routes/add/",
        destinations.AddRoute.as_view(),
        name="add-route",
    ),
    path(
        "alerts/<int:destination_id>/routes/<int:route_id>/remove/",
        destinations.RemoveRoute.as_view(),
        name="remove-route",
    ),
    path("account/notifications/browsers/", ways.browsers, name="browsers"),
    path("account/notifications/browsers/add/", ways.add_browser, name="add-browser"),
    path(
        "account/notifications/browsers/<int:browser_id>/remove/",
        ways.remove_browser,
        name="remove-browser",
    ),
    path("account/notifications/test/", ways.ways, name="ways"),
    path("alerts/subjects/", ways.set_subjects, name="set-mail-subjects"),
    path("account/notifications/on/", ways.mail_me_again, name="mail-me-again"),
    path(
        "queue/<uuid:public_id>/if-nobody-acts/", forecast.of_message, name="forecast"
    ),
    path(
        "review-plans/<int:mailbox_id>/if-nobody-acts/",
        forecast.of_plan,
        name="plan-forecast",
    ),
    path("alerts/log/", log.log, name="alert-log"),
    path("alerts/log/again/", log.again, name="send-alerts-again"),
    path("alerts/log/<int:alert_id>/", log.one, name="alert"),
    path("alerts/log/<int:alert_id>/again/", log.again, name="send-alert-again"),
    path(
        "alerts/<int:destination_id>/remove/",
        destinations.RemoveDestination.as_view(),
        name="remove-destination",
    ),
    *(path("", include(one.urls)) for one in all_channels().values() if one.urls),
]
