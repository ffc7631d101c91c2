"""The ASGI entry point of a web process. It runs Django's WSGI application behind an
event loop, for the desk or the gateway, as SERVE says.
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

# How long a client may read nothing of what was sent to it, before it is disconnected.
UNREAD_MILLISECONDS = 60_000


@cache
def end_unread_connections() -> None:
    """Have the kernel close the connections of clients that do not read what was sent
    to them.

    The server has no setting for this. It is set on the listening socket; accepted
    sockets inherit it.
    """
    for name in os.listdir("/proc/self/fd"):
        # Most file descriptors are not sockets.
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
    """Begin the heartbeat on the first call. The cache keeps the task, which would
    otherwise be deleted.
    """
    return asyncio.get_running_loop().create_task(keep_beating())


_bridge = WsgiBridge(wsgi_application, import_module(settings.REQUEST_RULES))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. The first request, which is the launcher's check, also begins
    what needs the listening socket and the event loop.
    """
    end_unread_connections()
    begin_heartbeat()
    await _bridge(scope, receive, send)
