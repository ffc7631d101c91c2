"""The parts of Discord's API, version 10, that the desk uses: webhooks, a bot's
messages, an application's commands, and deferred replies. `demo.site` shows the result.

It checks no limits: tests hold what the desk sends against Discord's.
"""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.demo import CHANNELS, GUILD_ID
from common.unique_keys import Json
from demo.discord.guild import Guild, channel_with_id
from demo.web import is_json

# Who posts, if a webhook's message does not say.
NAME = "Countersign"
# The parts of a message that an edit may replace, as they are in an empty one.
_VISIBLE: Json = {"content": "", "embeds": [], "components": []}


class Refused(Exception):
    """Discord refuses a request: with an HTTP status, its own numeric code, and a
    message.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @staticmethod
    async def answer(request: Request, error: Exception) -> Response:
        """Return the answer for this refusal."""
        assert isinstance(error, Refused)
        return JSONResponse({"message": str(error), "code": error.code}, error.status)


class DiscordApi:
    """Answers the API's calls by reading and changing the guild."""

    def __init__(self, guild: Guild) -> None:
        self.guild = guild
        self.app_id = guild.application.id

    def routes(self) -> list[Route]:
        """Return the paths of the API, and who answers them."""
        webhook = "/webhooks/{webhook_id}/{token}"
        channel = "/channels/{channel_id}/messages"
        application = f"/applications/{self.app_id}"
        return [
            Route(webhook, self.post_by_webhook, methods=["POST"]),
            Route(webhook + "/messages/@original", self.reply, methods=["PATCH"]),
            Route(
                webhook + "/messages/{message_id}",
                self.edit_by_webhook,
                methods=["PATCH"],
            ),
            Route(channel, self.post_by_bot, methods=["POST"]),
            Route(channel + "/{message_id}", self.edit_by_bot, methods=["PATCH"]),
            *(
                Route(scope + "/commands", self.register, methods=["PUT"])
                for scope in (application, f"{application}/guilds/{GUILD_ID}")
            ),
        ]

    async def post_by_webhook(self, request: Request) -> Response:
        """Post a message. A webhook whose id is that of a channel posts in this channel,
        any other webhook in #approvals.
        """
        payload = await _payload(request)
        webhook_id = request.path_params["webhook_id"]
        author = {"id": webhook_id, "username": payload.get("username") or NAME}
        channel_id = channel_with_id(webhook_id).id
        content = self._post(payload, channel_id, author, webhook_id=webhook_id)
        if request.query_params.get("wait") == "true":
            return JSONResponse(content)
        return Response(status_code=204)

    async def edit_by_webhook(self, request: Request) -> Response:
        """Edit a message of this webhook."""
        payload = await _payload(request)
        return self._edit(request, payload, author_id=request.path_params["webhook_id"])

    async def post_by_bot(self, request: Request) -> Response:
        """Post a message in a channel, as the application."""
        self._refuse_stranger(request)
        channel_id = request.path_params["channel_id"]
        if channel_id not in {channel.id for channel in CHANNELS}:
            raise Refused(404, 10003, "Unknown Channel")
        author = {"id": self.app_id, "username": NAME}
        return JSONResponse(self._post(await _payload(request), channel_id, author))

    async def edit_by_bot(self, request: Request) -> Response:
        """Edit a message of the application."""
        self._refuse_stranger(request)
        return self._edit(request, await _payload(request), author_id=self.app_id)

    async def register(self, request: Request) -> Response:
        """Replace the application's commands."""
        self._refuse_stranger(request)
        self.guild.register(await _payload(request))
        return JSONResponse(self.guild.commands())

    async def reply(self, request: Request) -> Response:
        """Give the deferred reply to an interaction, which its token names."""
        reply = self.guild.replies.get(request.path_params["token"])
        if not reply:
            raise Refused(404, 10015, "Unknown Webhook")
        reply.content = (await _payload(request))["content"]
        reply.state = "shown"
        self.guild.touch()
        return JSONResponse({"id": reply.id, "type": 20, "content": reply.content})

    def _post(
        self,
        payload: Json,
        channel_id: str,
        author: Json,
        **more: str,
    ) -> Json:
        content = {
            "id": self.guild.snowflake(),
            "type": 0,
            "channel_id": channel_id,
            "author": {**author, "bot": True},
            "timestamp": _now(),
            "edited_timestamp": None,
            **_VISIBLE,
            **_visible(payload),
            **more,
        }
        self.guild.put(content)
        return content

    def _edit(self, request: Request, payload: Json, *, author_id: str) -> Response:
        existing = self.guild.messages.get(request.path_params["message_id"])
        if not existing or existing["author"]["id"] != author_id:
            raise Refused(404, 10008, "Unknown Message")
        content = {**existing, **_visible(payload), "edited_timestamp": _now()}
        self.guild.put(content)
        return JSONResponse(content)

    def _refuse_stranger(self, request: Request) -> None:
        expected = f"Bot {self.guild.application.bot_token}"
        if request.headers.get("authorization") != expected:
            raise Refused(401, 0, "401: Unauthorized")


async def _payload(request: Request) -> Any:
    """Return the body's JSON. Raises Refused for a body that Discord does not accept as
    JSON.
    """
    if not is_json(request):
        raise Refused(400, 50109, "The request body contains invalid JSON.")
    return await request.json()


def _visible(payload: Json) -> Json:
    return {
        name: payload[name] or empty
        for name, empty in _VISIBLE.items()
        if name in payload
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
