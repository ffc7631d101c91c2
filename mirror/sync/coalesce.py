"""Runs one piece of work at a time and shares its result between threads. It knows
nothing of MultiMail.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Late(Exception):
    """The work of other threads took longer than the caller can wait."""


class _Run(Generic[T]):
    """One run: not begun yet, under way, or done."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.result: T | None = None
        # Stands where the thread of this run was torn down.
        self.error: Exception | None = Late()


class Coalesced(Generic[T]):
    """Work whose result is shared by all callers who asked before it began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._next: _Run[T] | None = None

    def run(self, work: Callable[[], T], *, patience: float) -> T:
        """Return the result of a run that begins after this call.

        The first caller who wants the next run does it, once the running one has ended;
        all others wait for it. Raises what the work raises, for each of them, and Late
        after `patience` seconds without a turn or a result.
        """
        run, is_mine = self._join()
        if is_mine:
            has_turn = self._turn.acquire(timeout=patience)
            with self._lock:
                # Later callers need a later run.
                self._next = None
            try:
                if not has_turn:
                    raise Late
                run.result = work()
                run.error = None
            except Exception as error:  # noqa: BLE001 - raised again in each waiting thread
                run.error = error
            finally:
                if has_turn:
                    self._turn.release()
                run.done.set()
        elif not run.done.wait(patience):
            raise Late
        if run.error is not None:
            raise run.error
        return run.result  # type: ignore[return-value]

    def _join(self) -> tuple[_Run[T], bool]:
        """Return the next run, and whether it is the caller's to do."""
        with self._lock:
            is_mine = self._next is None
            self._next = run = self._next or _Run()
            return run, is_mine
