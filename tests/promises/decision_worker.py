"""One executor for the state machine: a thread that runs the real command for a
decision, and stops at each request to MultiMail until the state machine lets it go on.

A crash ends its database session, and its thread at the next instruction.
"""

import contextlib
import ctypes
import threading

from django.db import DatabaseError, InterfaceError, connections
from django.db import connection as database

from approvals.decisions import execute
from approvals.models import Decision
from tests.integration.deciding import Killed
from tests.promises.upstream_world import PATIENCE


class Worker:
    """One executor at work on one decision, in a thread. `at` is the request at which
    it waits; None when it has ended.
    """

    def __init__(self, world, decision_id):
        self.world = world
        self.decision_id = decision_id
        self.at = None
        self.crashed = self.is_done = False
        self.error = None
        self._backend = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        world.parks_reads = True
        world.parked = None
        self._thread.start()
        self._wait()
        world.parks_reads = False
        self.attempt = Decision.objects.get(pk=decision_id).attempt

    def _run(self):
        try:
            database.ensure_connection()
            self._backend = database.connection.info.backend_pid
            execute.run_decision(decision_id=self.decision_id)
        except Killed:
            pass
        except (DatabaseError, InterfaceError) as error:
            self.error = None if self.crashed else error
        except BaseException as error:  # noqa: BLE001 - told to the machine, which fails by it
            self.error = error
        finally:
            with contextlib.suppress(DatabaseError, InterfaceError):
                connections.close_all()
            with self.world.changed:
                self.is_done = True
                self.world.changed.notify_all()

    def go_on(self, answer):
        """Answer the request at which it waits (None cuts the connection), and wait
        until it stops again or ends.
        """
        assert self.at is not None
        at = self.at
        self.at = None
        self.world.parked = None
        at.let_go(answer)
        self._wait()

    def crash(self):
        """Let it crash at this point: its transaction is lost. A call that has left may
        still arrive.
        """
        self.crashed = True
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [self._backend])
        # Raised in the thread at its next instruction. No code of the product catches
        # it.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(Killed)
        )
        self.go_on(None)

    def _wait(self):
        with self.world.changed:
            reached = self.world.changed.wait_for(
                lambda: self.is_done or self.world.parked, PATIENCE
            )
        assert reached, "the worker neither ended nor asked"
        if self.is_done:
            self._thread.join(PATIENCE)
            if self.error:
                raise self.error
        else:
            self.at = self.world.parked
            self.world.parked = None
