"""The sealer is killed anywhere, and several seal at once: one chain, with every entry
in it once.
"""

import json
import os
import signal

import pytest
from django.db import connection

from audit.models import Entry, Seal
from audit.sealing import anchors
from audit.sealing.sealer import seal_all
from audit.tasks import seal
from tests.ledger import append, check_chain

pytestmark = pytest.mark.django_db(transaction=True)


def _in_another_process(work):
    """Run it in a process of its own, with a session of its own; return the process's
    number.
    """
    connection.close()
    if process := os.fork():
        return process
    try:
        work()
    finally:
        os._exit(0)


def _seal_until_statement(number):
    """Seal, and be killed right before the so many-th statement, or while the file is
    written.
    """
    sent = iter(range(number))

    def count(execute, *arguments):
        if next(sent, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*arguments)

    with connection.execute_wrapper(count):
        seal()


def _seal_until_the_disk():
    def die(descriptor):
        os.kill(os.getpid(), signal.SIGKILL)

    anchors.os.fsync = die
    seal()


def _was_killed(process):
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def test_sealer_killed_anywhere_leaves_one_chain(settings):
    statements = 0
    while True:
        append(2)
        if not _was_killed(
            _in_another_process(lambda number=statements: _seal_until_statement(number))
        ):
            break
        statements += 1
        check_chain()
    append(2)
    assert _was_killed(_in_another_process(_seal_until_the_disk))
    append(1)
    seal()
    assert statements > 10
    seals = check_chain()
    assert seals[-1].size == Entry.objects.count()
    heads = [json.loads(line) for line in settings.SEAL_FILE.read_text().splitlines()]
    assert [(head["number"], head["signature"]) for head in heads] == [
        (one.number, one.signature) for one in seals
    ]


def test_four_sealers_at_once_make_one_chain():
    def seal_again_and_again():
        while not Seal.objects.filter(size=40).exists():
            seal_all()

    sealers = [_in_another_process(seal_again_and_again) for _ in range(4)]
    append(20)
    # However slowly the others start, what follows comes after a seal.
    while not Seal.objects.exists():
        seal_all()
    append(20)
    ends = [_was_killed(process) for process in sealers]
    assert not any(ends)
    seal_all()
    seals = check_chain()
    assert len(seals) > 1
    assert seals[-1].size == Entry.objects.count() == 40
