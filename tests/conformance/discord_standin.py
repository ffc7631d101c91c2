"""A stand-in for Discord's bot API: REST and the websocket gateway, as Discord
documents them for version 10.

Real discord.py and discord.js programs log in here. It sends them interactions and
messages, and records their answers. There is one guild with one channel and one member,
Ana, who may manage messages.
"""

import asyncio
import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

# The bot's token, ids, and the numbers of intents, gateway opcodes, types and flags as
# Discord documents them.
TOKEN = "MTAwMDAwMDAwMDAwMDAwMDAx.stand.in"
BOT = "1001"
GUILD = "2001"
CHANNEL = "3001"
MEMBER = "4001"
MESSAGE_CONTENT = 1 << 15
HELLO = 10
DISPATCH = 0
HEARTBEAT = 1
IDENTIFY = 2
ACK = 11
COMMAND = 2
DEFERRED = 5
EPHEMERAL = 64
# Discord's objects, as its documentation has them.
OBJECTS = json.loads((Path(__file__).parent / "discord_objects.json").read_text())


@dataclass
class Discord:
    """The requests that came, and methods that send events to the bot."""

    url: str = ""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    intents: int | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _socket: web.WebSocketResponse | None = None
    _sequence: int = 0
    _last_id: int = field(default_factory=time.time_ns)

    def bodies(self, method, path):
        """The bodies that the bot sent to a path, oldest first."""
        return [body for *asked, body in self.calls if asked == [method, path]]

    def commands(self):
        """The commands that the bot registered last; None before."""
        put = self.bodies("PUT", f"/applications/{BOT}/commands")
        return put[-1] if put else None

    def is_ready(self):
        """Whether the bot has identified itself and registered its commands."""
        return self.intents is not None and self.commands() is not None

    def slash(self, name, **options):
        """Use a slash command as Ana in the channel; return its id."""
        interaction = self.next_id()
        arguments = [
            {"name": name, "type": 3, "value": value} for name, value in options.items()
        ]
        data = {"id": "6001", "name": name, "type": 1, "guild_id": GUILD}
        fields = {"id": interaction, "token": f"token-{interaction}"}
        fields["data"] = data | {"options": arguments}
        self._dispatch("INTERACTION_CREATE", OBJECTS["interaction"] | fields)
        return interaction

    def write(self, content):
        """Write a message into the channel as Ana, and return its id."""
        message_id = self.next_id()
        visible = content if (self.intents or 0) & MESSAGE_CONTENT else ""
        more = {"guild_id": GUILD, "member": OBJECTS["member"]}
        sent = message(message_id, visible, OBJECTS["ana"])
        self._dispatch("MESSAGE_CREATE", sent | more)
        return message_id

    def answers_to(self, message_id):
        """What the bot wrote as replies to a message."""
        return [
            body
            for body in self.bodies("POST", f"/channels/{CHANNEL}/messages")
            if str((body.get("message_reference") or {}).get("message_id"))
            == message_id
        ]

    def first_answer(self, interaction):
        """The bot's first answer to a slash command."""
        path = f"/interactions/{interaction}/token-{interaction}/callback"
        return self.bodies("POST", path)[0]

    def final_message(self, interaction):
        """The last text of the bot's answer, which the user reads; None before."""
        path = f"/webhooks/{BOT}/token-{interaction}/messages/@original"
        return next(reversed(self.bodies("PATCH", path)), None)

    def next_id(self):
        """A new snowflake."""
        self._last_id += 1
        return str(self._last_id)

    def _dispatch(self, event, data):
        assert self._loop is not None
        assert self._socket is not None, "no bot is connected"
        sending = self._tell(self._socket, event, data)
        asyncio.run_coroutine_threadsafe(sending, self._loop).result(5)

    async def _tell(self, socket, event, data):
        """Send one event."""
        self._sequence += 1
        # Not compressed: clients accept this even if they asked for compression.
        await socket.send_json(
            {"op": DISPATCH, "t": event, "s": self._sequence, "d": data}
        )

    async def connect(self, request):
        """Serve a bot's connection to the websocket gateway until it disconnects."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        hello = {"op": HELLO, "d": {"heartbeat_interval": 41_250}, "s": None, "t": None}
        await socket.send_json(hello)
        async for frame in socket:
            payload = json.loads(frame.data) if frame.type == WSMsgType.TEXT else {}
            if payload.get("op") == HEARTBEAT:
                await socket.send_json({"op": ACK})
            elif payload.get("op") == IDENTIFY:
                await self._identified(socket, payload["d"])
        return socket

    async def _identified(self, socket, fields):
        assert fields["token"] == TOKEN
        ready = {
            "v": 10,
            "user": OBJECTS["me"],
            "guilds": [{"id": GUILD, "unavailable": True}],
            "session_id": "one",
            "resume_gateway_url": self._socket_url(),
            "application": {"id": BOT, "flags": 0},
            "shard": [0, 1],
        }
        self._sequence = 0
        await self._tell(socket, "READY", ready)
        await self._tell(socket, "GUILD_CREATE", OBJECTS["guild"])
        self._socket = socket
        self.intents = fields["intents"]

    def _socket_url(self):
        return self.url.replace("http", "ws") + "/ws"

    async def answer(self, request):
        """Answer a request that a bot makes over HTTP."""
        path = request.path.removeprefix("/api/v10")
        body = json.loads(await request.read() or "null")
        self.calls.append((request.method, path, body))
        match (request.method, path.strip("/").split("/")):
            case ("POST", ["interactions", interaction, _, "callback"]):
                if request.query.get("with_response") in ("1", "true"):
                    return self._callback(interaction, body)
                return web.Response(status=204)
            case ("GET", ["gateway", "bot"]):
                return _json(OBJECTS["gateway"] | {"url": self._socket_url()})
            case ("GET", ["users", "@me"]):
                return _json(OBJECTS["bot"])
            case ("GET", ["oauth2" | "applications", *_]):
                return _json(OBJECTS["application"])
            case ("PUT", ["applications", _, "commands"]):
                known = {"application_id": BOT, "version": "1", "type": 1}
                return _json([known | one | {"id": self.next_id()} for one in body])
            case ("PATCH", ["webhooks", _, _, "messages", "@original"]) | (
                "POST",
                ["channels", _, "messages"],
            ):
                content = body.get("content") or ""
                return _json(message(self.next_id(), content, OBJECTS["bot"]))
        return _json({"message": "404: Not Found", "code": 0}, status=404)

    def _callback(self, interaction, body):
        message_id = self.next_id()
        is_ephemeral = bool((body.get("data") or {}).get("flags", 0) & EPHEMERAL)
        about = {
            "id": interaction,
            "type": COMMAND,
            "response_message_id": message_id,
            "response_message_loading": body["type"] == DEFERRED,
            "response_message_ephemeral": is_ephemeral,
        }
        shown = message(message_id, "", OBJECTS["bot"]) | {"flags": 192}
        resource = {"type": body["type"], "message": shown}
        return _json({"interaction": about, "resource": resource})


def message(message_id, content, author):
    """A message object of the channel."""
    about = {"id": message_id, "content": content, "author": author}
    return OBJECTS["message"] | about


def _json(value, status=200):
    # Discord sends the content type without a charset.
    return web.Response(
        body=json.dumps(value).encode(),
        status=status,
        headers={"Content-Type": "application/json"},
    )


@contextlib.contextmanager
def discord():
    """Serve a stand-in on a free port, in a thread with an event loop of its own."""
    standin = Discord()

    async def serve(started, stop):
        application = web.Application()
        application.router.add_get("/ws{slash:/?}", standin.connect)
        application.router.add_route("*", "/api/v10/{path:.*}", standin.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.2, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        standin.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await stop.wait()
        await runner.cleanup()

    loop = asyncio.new_event_loop()
    standin._loop = loop
    started = threading.Event()
    stop = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(serve(started, stop),), daemon=True
    )
    thread.start()
    assert started.wait(5), "the stand-in for Discord does not start"
    try:
        yield standin
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        loop.close()
