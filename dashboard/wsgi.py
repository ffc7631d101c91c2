"""The WSGI application, of the desk or of the gateway as SERVE says."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from common.garbage import collect_rarely
from common.version import log_start
from dashboard.reporting import begin
from launcher.orphans import die_with_parent

# The server imports this in each of its processes. They must end if their parent is
# killed, or they would keep its port.
die_with_parent(signal.SIGKILL)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
begin()

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


application: Application = get_wsgi_application()
if os.environ.get("SERVE") != "gateway":
    from dashboard.serving.webhooks import PATH, Intake

    _desk = application
    _intake = Intake()

    def application(
        environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer webhooks the short way, and all other requests with all middleware."""
        handler = _intake if environ.get("PATH_INFO", "").startswith(PATH) else _desk
        return handler(environ, start_response)


collect_rarely()
log_start()
