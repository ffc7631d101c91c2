"""The ASGI entry of both products: the WSGI application behind an event loop; SERVE
says which one.
"""

import asyncio
import contextlib
import os
import socket
from functools import cache
from importlib import import_module

from django.conf import settings

from common.heartbeat import keep_beating
from dashboard.serving.bridge import Receive, Scope, Send, WsgiBridge
from dashboard.wsgi import application as wsgi_application

# For how long a client may read nothing of what was sent to it.
UNREAD_MILLISECONDS = 60_000


@cache
def end_unread_connections() -> None:
    """Make the kernel close connections whose client reads nothing of what was sent to
    it.

    The server has no setting for it. Sockets that are accepted inherit it from the one
    that listens.
    """
    for name in os.listdir("/proc/self/fd"):
        # Most file descriptors are no sockets.
        with (
            contextlib.suppress(OSError),
            socket.fromfd(int(name), socket.AF_INET, socket.SOCK_STREAM) as one,
        ):
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                one.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS
                )


@cache
def begin_heartbeat() -> "asyncio.Task[None]":
    """Begin once, and keep the task."""
    return asyncio.get_running_loop().create_task(keep_beating())


_bridge = WsgiBridge(wsgi_application, import_module(settings.REQUEST_RULES))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. The first one, the launcher's check, begins what needs the
    listening socket and the loop.
    """
    end_unread_connections()
    begin_heartbeat()
    await _bridge(scope, receive, send)
