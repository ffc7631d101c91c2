"""The WSGI entry of both products; SERVE says which one a process answers for."""

import os
import signal

from django.core.wsgi import get_wsgi_application

from dashboard.launch.pdeathsig import die_with_parent

# The server imports this in each of its workers: they must not outlive a killed parent and keep its port.
die_with_parent(signal.SIGKILL)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

# Publishing a nudge needs the configured app, so it is loaded before the first request.
import dashboard.celery  # noqa: E402, F401

application = get_wsgi_application()
