"""The ASGI entry point of a web process. It runs Django's WSGI application behind an
event loop, for the desk or the gateway, as SERVE says.
"""

import asyncio
from importlib import import_module
from typing import Any

from django.conf import settings

from common.heartbeat import keep_beating
from dashboard.serving.bridge import Receive, Scope, Send, WsgiBridge
from dashboard.wsgi import application as wsgi_application

# It needs the apps.
from dashboard.hosts import Listing  # isort: skip

_bridge = WsgiBridge(wsgi_application, import_module(settings.REQUEST_RULES))
_mcp: asyncio.Future[Any] | None = None


async def _answer_mcp(*request: Any) -> None:
    assert _mcp is not None, "only the gateway gets such requests"
    await (await asyncio.shield(_mcp))(*request)


async def _serve_mcp(ending: asyncio.Event) -> None:
    """Answer at /mcp. What does so is loaded after the server listens, because that
    takes a second; a request waits for it.
    """
    global _mcp
    _mcp = asyncio.get_running_loop().create_future()
    _bridge.in_loop["/mcp"] = _answer_mcp
    module = await asyncio.to_thread(import_module, "gateway.mcp.endpoint")
    endpoint = module.Endpoint(_bridge)
    async with endpoint.manager.run():
        _mcp.set_result(endpoint)
        await ending.wait()


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
    ending = asyncio.Event()
    is_gateway = settings.SERVE == "gateway"
    mcp = asyncio.create_task(_serve_mcp(ending)) if is_gateway else None
    await send({"type": "lifespan.startup.complete"})
    await receive()
    ending.set()
    if mcp:
        await mcp
    heartbeat.cancel()
    listing.end()
    await send({"type": "lifespan.shutdown.complete"})
