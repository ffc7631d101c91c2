"""Addresses of the reports that need people and roles alone."""

from django.urls import path

from people.reports.views import reports, rights, rights_file

urlpatterns = [
    path("", reports, name="reports"),
    path("rights/", rights, name="report-rights"),
    path("rights/file/", rights_file, name="report-rights-file"),
]
