"""Opens an Office file: a zip archive of XML parts, each bounded when it is unpacked
and when it is read.
"""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from mirror.attachments.renderings.refusals import Refused

MAX_ENTRIES = 5_000
# Bytes of XML, of one part and of all that are read.
MAX_PART = 16 * 1024 * 1024
MAX_ALL = 40 * 1024 * 1024
MAX_DEPTH = 150
MAX_LINKS = 20
# What a program loads when it opens the file, by the last word of the relation's type.
_LOADED = {
    "attachedTemplate": "template",
    "externalLinkPath": "workbook",
    "image": "picture",
    "oleObject": "object",
    "frame": "page",
    "subDocument": "document",
    "mailMergeSource": "data source",
}


@dataclass(frozen=True)
class Relation:
    """What one part says of another: `kind` is the last word of the type, `target` a
    part's name or an address.
    """

    id: str
    kind: str
    target: str
    is_external: bool


class Package:
    """The parts of one Office file."""

    def __init__(self, content: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise Refused("broken") from error
        # A ZIP64 record may name another directory than the one that office programs open.
        end = content.rfind(b"PK\x05\x06")
        if content[end - 20 : end].startswith(b"PK\x06\x07"):
            raise Refused("form")
        if len(self._zip.filelist) > MAX_ENTRIES:
            raise Refused("too_large")
        self._left = MAX_ALL
        self.names = frozenset(self._zip.namelist())

    def part(self, name: str) -> Element:
        """Return a part's XML. Raises Refused."""
        if name not in self.names:
            raise Refused("form")
        info = self._zip.getinfo(name)
        if info.flag_bits & 1:
            raise Refused("locked")
        most = min(MAX_PART, self._left)
        if info.file_size > most:
            raise Refused("too_large")
        try:
            with self._zip.open(info) as stream:
                # A directory may state less than what comes.
                data = stream.read(most + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise Refused("broken") from error
        if len(data) > most:
            raise Refused("too_large")
        self._left -= len(data)
        return parse(data)

    def relations(self, name: str) -> Mapping[str, Relation]:
        """Return what this part names, by id."""
        folder, base = posixpath.split(name)
        listed = posixpath.join(folder, "_rels", f"{base}.rels")
        if listed not in self.names:
            return {}
        return {one.id: one for one in self._relations(listed, folder)}

    def _relations(self, listed: str, folder: str) -> Iterator[Relation]:
        for one in self.part(listed).iter("Relationship"):
            kind = one.get("Type", "").rpartition("/")[2]
            target = one.get("Target", "")
            is_external = one.get("TargetMode") == "External"
            if not is_external:
                target = posixpath.normpath(posixpath.join("/", folder, target))
                target = target.lstrip("/")
            yield Relation(one.get("Id", ""), kind, target, is_external)

    def main_part(self) -> str:
        """Return the name of the part with which reading begins. Raises Refused."""
        for relation in self.relations("").values():
            if relation.kind == "officeDocument":
                return relation.target
        raise Refused("form")

    def notes(self) -> list[str]:
        """Return sentences on what a program would load from elsewhere when it opens
        the file.
        """
        notes: list[str] = []
        for listed in sorted(name for name in self.names if name.endswith(".rels")):
            for relation in self._relations(listed, ""):
                what = _LOADED.get(relation.kind)
                if relation.is_external and what and len(notes) < MAX_LINKS:
                    target = relation.target[:500]
                    notes.append(
                        f"A program that opens it may load a {what} from {target}. Nothing was loaded here."
                    )
        return list(dict.fromkeys(notes))


def parse(data: bytes) -> Element:
    """Return the XML as elements with local names. Raises Refused; a document type is
    refused whole, with entities.
    """
    builder = TreeBuilder()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise Refused("broken")
        found = {}
        for key, value in attributes.items():
            # A relation's id keeps its prefix, as some elements have an id of their own
            # too.
            is_relation = key.rpartition(" ")[0].endswith("/relationships")
            found[f"r:{_local(key)}" if is_relation else _local(key)] = value
        builder.start(_local(name), found)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def refuse(*_: object) -> None:
        raise Refused("entities")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise Refused("broken") from error
    return builder.close()


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
