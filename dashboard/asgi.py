"""The ASGI entry of both products: the WSGI application behind an event loop; SERVE says which one."""

import contextlib
import os
import socket
from functools import cache
from importlib import import_module

from django.conf import settings

from dashboard.serving.bridge import Receive, Scope, Send, WsgiBridge
from dashboard.wsgi import application as wsgi_application

# For so long a client may take nothing of what was sent to it.
UNREAD_MILLISECONDS = 60_000


@cache
def end_unread_connections() -> None:
    """Let the kernel end connections whose client takes nothing of what was sent to it.

    The server has no setting for it. Sockets that are accepted inherit it from the one that listens.
    """
    for name in os.listdir("/proc/self/fd"):
        # Most of them are no sockets.
        with contextlib.suppress(OSError), socket.fromfd(int(name), socket.AF_INET, socket.SOCK_STREAM) as one:
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)


_bridge = WsgiBridge(wsgi_application, import_module(settings.BODY_RULES))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. Before the first one: the server opens its socket after it has imported this module."""
    end_unread_connections()
    await _bridge(scope, receive, send)
