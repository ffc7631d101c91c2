"""Fetches the bytes of one attached file from MultiMail, detects what they are, and
stores them in the file's row. If that fails, the row says why, and it is tried again
later.
"""

import hashlib
import logging
from dataclasses import asdict
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from common.logs import traced
from mirror import store
from mirror.attachments.parsed import detect_file
from mirror.models import AttachedFile
from mirror.recording import record_about
from mirror.sync import health, reads
from parsing.client import ParserUnavailable, from_source
from risk.check_files import runs_code
from risk.findings import MOST, not_read_safely, quoted
from upstream import errors

log = logging.getLogger(__name__)

# In bytes: more than usual mail servers accept.
MAX_BYTES = 25 * 1024 * 1024
# For how long a file is not fetched by another worker; longer than a download may take.
LEASE = timedelta(seconds=40)
# The rule of findings about files, other than those that run code.
_RISKY = "risky_attachment"
_State = AttachedFile.State


def fetch_file(file_id: int) -> str:
    """Fetch one file if it is due, and return its new state, or why it was not fetched."""
    due = AttachedFile.objects.to_fetch().filter(pk=file_id)
    if not due.update(tries=F("tries") + 1, not_before=Now() + LEASE):
        return "not due"
    file = (
        AttachedFile.objects.without_bytes()
        .select_related("message__connection", "message__mailbox")
        .get(pk=file_id)
    )
    with traced(file.message.trace):
        if file.size > MAX_BYTES:
            return _failed(file, _State.TOO_LARGE)
        if file.sha256:
            # If an earlier version of the message had a file with the same hash, its
            # bytes are copied instead of fetched.
            earlier = (
                AttachedFile.objects.filter(
                    message=file.message_id,
                    found_sha256=file.sha256.lower(),
                    state=_State.FETCHED,
                )
                .exclude(pk=file.pk)
                .first()
            )
            if earlier and earlier.content is not None:
                return _store_content(file, bytes(earlier.content))
        try:
            content = _download(file)
        except errors.TooLarge:
            return _failed(file, _State.TOO_LARGE)
        except errors.NotFound:
            return _failed(file, _State.GONE)
        except (errors.KeyRefused, errors.Forbidden) as error:
            return _failed(file, _State.NOT_VISIBLE, error.sentence)
        except errors.UpstreamError as error:
            health.wait(file.message.connection, error)
            return _failed(file, _State.FAILING, error.sentence)
        if content is None:
            return _failed(file, _State.NOT_VISIBLE)
        return _store_content(file, content)


def _download(file: AttachedFile) -> bytes | None:
    """Return the file's bytes; None if no key of this connection can read them. Raises
    UpstreamError.
    """
    message = file.message
    if message.connection.is_our_gateway:
        # Our gateway gives files with the oversight key, of received mail too, so that
        # reviewers can read what they decide.
        overseer = reads.oversight_client(message.connection, for_reading=True)
        return overseer.download_held(
            email_id=message.upstream_id, name=file.name, limit=MAX_BYTES
        )
    reader = reads.read_client(message.connection)
    if not reader or not message.mailbox:
        return None
    return reader.download(
        email_id=message.upstream_id,
        mailbox_id=message.mailbox.upstream_id,
        name=file.name,
        limit=MAX_BYTES,
    )


def _store_content(file: AttachedFile, content: bytes) -> str:
    # Detects what the bytes are, and stores them, unless another worker fetched the
    # file meanwhile. Returns the new state.
    try:
        with from_source(*file.message.sources):
            detection = detect_file(
                content, name=file.name, content_type=file.content_type
            )
    except ParserUnavailable as error:
        return _failed(file, _State.FAILING, str(error))
    this_try = AttachedFile.objects.filter(pk=file.pk, tries=file.tries)
    file.found_sha256 = hashlib.sha256(content).hexdigest()
    with transaction.atomic():
        updated = this_try.update(
            content=content,
            found_size=len(content),
            found_sha256=file.found_sha256,
            kind=detection.kind,
            seen=asdict(detection),
            state=_State.FETCHED,
            problem="",
            fetched_at=Now(),
        )
        if updated and file.differs:
            # These are not the bytes that the fingerprint of the message names.
            record_about(
                "message.file_differs",
                file.message,
                health.ACTOR,
                fingerprint=file.revision.fingerprint,
                details={
                    "file": file.name[:300],
                    "expected": file.sha256,
                    "found": file.found_sha256,
                },
            )
        # What the name alone says was found when the content was stored.
        findings = []
        for flag in detection.flags:
            if flag.level == "high" and flag.means != "named":
                rule = "attachment_runs_code" if flag.means == "runs" else _RISKY
                findings.append(runs_code(file.name, flag.sentence, rule=rule))
        if file.differs:
            why = "Its bytes do not match the message's fingerprint."
            findings.insert(0, runs_code(file.name, why, rule=_RISKY))
        if detection.is_unsafe:
            findings = [not_read_safely(f"The attached file {quoted(file.name)}")]
        if updated:
            store.add_findings(file.revision, *findings[:MOST])
    return _State.FETCHED if updated else "somebody else fetched it"


def _failed(file: AttachedFile, state: str, sentence: str = "") -> str:
    # Stores why it failed, and when it is tried again. Returns the state.
    AttachedFile.objects.filter(pk=file.pk, tries=file.tries).update(
        state=state,
        problem=sentence,
        not_before=Now() + health.pause_after(file.tries, first=5, factor=4),
    )
    log.info(
        "file not fetched", extra={"file": file.pk, "state": state, "reason": sentence}
    )
    return state
