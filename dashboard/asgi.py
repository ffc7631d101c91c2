"""The ASGI entry point of a web process. It runs Django's WSGI application behind an
event loop, for the desk or the gateway, as SERVE says.
"""

import asyncio
from contextlib import nullcontext
from importlib import import_module

from django.conf import settings

from common.heartbeat import keep_beating
from dashboard.serving.bridge import Receive, Scope, Send, WsgiBridge
from dashboard.wsgi import application as wsgi_application

# It needs the apps.
from dashboard.hosts import Listing  # isort: skip

_bridge = WsgiBridge(wsgi_application, import_module(settings.REQUEST_RULES))
# Of the gateway, what runs in the event loop.
_mcp = None
if settings.SERVE == "gateway":
    _mcp = import_module("gateway.mcp.endpoint").Endpoint(_bridge)
    _bridge.in_loop["/mcp"] = _mcp


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. The heartbeat begins when the server starts, and so does the
    listing of the host.
    """
    if scope["type"] != "lifespan":
        await _bridge(scope, receive, send)
        return
    await receive()
    heartbeat = asyncio.create_task(keep_beating())
    listing = Listing()
    listing.start()
    async with _mcp.manager.run() if _mcp else nullcontext():
        await send({"type": "lifespan.startup.complete"})
        await receive()
    heartbeat.cancel()
    listing.end()
    await send({"type": "lifespan.shutdown.complete"})
