"""The WSGI entry of both products; SERVE says which one a process answers for."""

import os
import signal

from django.core.wsgi import get_wsgi_application

from dashboard.launch.pdeathsig import die_with_parent

# The server imports this in each of its workers: they must not outlive a killed parent and keep its port.
die_with_parent(signal.SIGKILL)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

application = get_wsgi_application()
