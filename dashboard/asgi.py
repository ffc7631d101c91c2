"""The ASGI entry point of a web process. It runs Django's WSGI application behind an
event loop, for the desk or the gateway, as SERVE says.
"""

import asyncio
from functools import cache
from importlib import import_module

from django.conf import settings

from common.heartbeat import keep_beating
from dashboard.serving.bridge import Receive, Scope, Send, WsgiBridge
from dashboard.wsgi import application as wsgi_application


@cache
def begin_heartbeat() -> "asyncio.Task[None]":
    """Begin the heartbeat on the first call. The cache keeps the task, which would
    otherwise be deleted.
    """
    return asyncio.get_running_loop().create_task(keep_beating())


_bridge = WsgiBridge(wsgi_application, import_module(settings.REQUEST_RULES))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. The first request, which is the launcher's check, also begins
    the heartbeat.
    """
    begin_heartbeat()
    await _bridge(scope, receive, send)
