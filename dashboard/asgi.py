"""The ASGI entry of both products: the WSGI application behind an event loop; SERVE says which one."""

import contextlib
import os
import socket
from importlib import import_module

from django.conf import settings

from dashboard.wsgi import application as wsgi_application
from dashboard.wsgi_bridge import WsgiBridge

# For so long a client may take nothing of what was sent to it.
UNREAD_MILLISECONDS = 60_000


def end_unread_connections() -> None:
    """Let the kernel end connections whose client takes nothing of what was sent to it.

    The server has no setting for it. Sockets that are accepted inherit it from the one that listens.
    """
    for name in os.listdir("/proc/self/fd"):
        # Most of them are no sockets.
        with contextlib.suppress(OSError), socket.fromfd(int(name), socket.AF_INET, socket.SOCK_STREAM) as one:
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)


end_unread_connections()
application = WsgiBridge(wsgi_application, import_module(settings.BODY_RULES))
