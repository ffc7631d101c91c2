"""Discord's documented limits for messages, buttons, forms and commands, as far as the
desk uses them, and the tree of errors with which Discord answers.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

# In characters: of a text input, and of all embeds of a message together.
MAX_INPUT = 4000
MAX_EMBED_CHARACTERS = 6000

# Code in Markdown, in which nothing is a mention; and the mentions by their kind.
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_MENTIONS = {
    "everyone": re.compile(r"@(everyone|here)\b"),
    "users": re.compile(r"<@!?(\d+)>"),
    "roles": re.compile(r"<@&(\d+)>"),
}

WebAddress = Annotated[
    str, StringConstraints(pattern="^https?://[^/?#]", max_length=2048)
]
CommandName = Annotated[str, StringConstraints(pattern="^[-_a-z0-9]{1,32}$")]


class Part(BaseModel):
    """Base class of everything that is sent to Discord. White space around texts does
    not count.
    """

    model_config = ConfigDict(str_strip_whitespace=True)


def needed(most: int) -> Any:
    """Return the limits of a text or list that must not be empty and may have `most`
    characters or items.
    """
    return Field(min_length=1, max_length=most)


class EmbedField(Part):
    name: str = needed(256)
    value: str = needed(1024)


class Footer(Part):
    text: str = needed(2048)


class Embed(Part):
    title: str = Field("", max_length=256)
    description: str = Field("", max_length=4096)
    url: WebAddress | None = None
    color: int = Field(0, ge=0, le=0xFFFFFF)
    fields: list[EmbedField] = Field([], max_length=25)
    footer: Footer | None = None

    def size(self) -> int:
        """Return how many characters of the embed count for MAX_EMBED_CHARACTERS."""
        texts = [self.title, self.description]
        texts += [text for field in self.fields for text in (field.name, field.value)]
        texts += [self.footer.text] if self.footer else []
        return sum(map(len, texts))


class Mentions(Part):
    parse: list[Literal["roles", "users", "everyone"]] = []
    users: list[str] = Field(default=[], max_length=100)
    roles: list[str] = Field(default=[], max_length=100)

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        for kind in ("users", "roles"):
            if kind in self.parse and getattr(self, kind):
                raise ValueError(f"parse and {kind} are mutually exclusive.")
        return self


class PressButton(Part):
    type: Literal[2]
    style: Literal[1, 2, 3, 4]
    label: str = needed(80)
    custom_id: str = needed(100)


class LinkButton(Part):
    type: Literal[2]
    style: Literal[5]
    label: str = needed(80)
    url: WebAddress = Field(max_length=512)
    custom_id: None = None


class Row(Part):
    type: Literal[1]
    components: list[PressButton | LinkButton] = needed(5)


class Message(Part):
    content: str = Field("", max_length=2000)
    username: str = Field("", max_length=80)
    embeds: list[Embed] = Field([], max_length=10)
    allowed_mentions: Mentions = Mentions()
    components: list[Row] = Field([], max_length=5)

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if sum(embed.size() for embed in self.embeds) > MAX_EMBED_CHARACTERS:
            raise ValueError(f"Embeds exceed {MAX_EMBED_CHARACTERS} characters.")
        buttons = [button for row in self.components for button in row.components]
        ids = Counter(one.custom_id for one in buttons if one.custom_id)
        if ids.total() > len(ids):
            raise ValueError("Component custom id cannot be duplicated.")
        return self


class TextInput(Part):
    type: Literal[4]
    style: Literal[1, 2]
    custom_id: str = needed(100)
    min_length: int = Field(0, ge=0, le=MAX_INPUT)
    max_length: int = Field(MAX_INPUT, ge=1, le=MAX_INPUT)
    # An older form of Discord's API had the label here; now a Label contains the input.
    label: None = None


class Label(Part):
    type: Literal[18]
    label: str = needed(45)
    description: str = Field("", max_length=100)
    component: TextInput


class Form(Part):
    title: str = needed(45)
    custom_id: str = needed(100)
    components: list[Label] = needed(5)


class Option(Part):
    type: Literal[3]
    name: CommandName
    description: str = needed(100)
    required: bool = False


class Command(Part):
    type: Literal[1] = 1
    name: CommandName
    description: str = needed(100)
    options: list[Option] = Field([], max_length=25)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        needs = [one.required for one in self.options]
        if needs != sorted(needs, reverse=True):
            raise ValueError("Required options must be placed before others.")
        return self


def find_errors(payload: object, kind: Any = Message) -> dict[str, Any]:
    """Return Discord's tree of errors (code 50035) for a message's body, or for
    something else of type `kind`; empty if it is acceptable.
    """
    tree: dict[str, Any] = {}
    try:
        TypeAdapter(kind).validate_python(payload)
    except ValidationError as error:
        for one in error.errors():
            node = tree
            for key in one["loc"]:
                node = node.setdefault(str(key), {})
            entry = {"code": one["type"], "message": one["msg"]}
            node.setdefault("_errors", []).append(entry)
    return tree


def count_pings(content: str, allowed: Mapping[str, Any] | None) -> int:
    """Return how many people, roles and "everyone" a message's text pings, within its
    `allowed_mentions`. Discord never pings from an embed.
    """
    text = _CODE.sub("", content)
    pings = 0
    for kind, pattern in _MENTIONS.items():
        mentioned = set(pattern.findall(text))
        if allowed is not None and kind not in (allowed.get("parse") or []):
            mentioned &= set(() if kind == "everyone" else allowed.get(kind) or ())
        pings += len(mentioned)
    return pings
