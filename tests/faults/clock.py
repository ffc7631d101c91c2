"""Sets the clock of single processes while they run: a small C library is loaded into
them, and replaces the C library's functions for the time of day.

The monotonic clock is left alone, because it does not jump on a real machine either.
Debian's libfaketime cannot be used: with it, `time.sleep` of Python 3.11 and newer
fails.
"""

import contextlib
import shutil
import struct
import subprocess

import pytest

_SOURCE = r"""
struct when { long seconds, rest; };
extern int open(const char *, int, ...);
extern void *mmap(void *, unsigned long, int, int, int, long);
extern char *getenv(const char *);
extern void *dlsym(void *, const char *);
static volatile long *offset;
static int (*real)(int, struct when *);
static void begin(void) {
  void *place = mmap(0, 8, 1, 1, open(getenv("CLOCK_OFFSET"), 0), 0);
  real = dlsym((void *)-1L, "clock_gettime");
  offset = (long)place == -1 ? 0 : place;
}
int clock_gettime(int clock, struct when *now) {
  if (!real) begin();
  int result = real(clock, now);
  if (!result && offset && (clock == 0 || clock == 5)) now->seconds += *offset;
  return result;
}
int gettimeofday(struct when *now, void *zone) {
  int result = clock_gettime(0, now);
  now->rest /= 1000;
  return result;
}
long time(long *kept) {
  struct when now;
  clock_gettime(0, &now);
  if (kept) *kept = now.seconds;
  return now.seconds;
}
"""
_COMPILERS = ("cc", "gcc", "clang", "tcc")


class Clock:
    """The clock of all processes that run with `variables` in their environment."""

    def __init__(self, folder, library):
        self._file = folder / "offset"
        self.step(0)
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._file)}

    def step(self, seconds):
        """Set the clock this many seconds ahead of the real time, in all processes."""
        if not self._file.exists():
            self._file.write_bytes(struct.pack("q", seconds))
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))


@contextlib.contextmanager
def clock(folder):
    """Compile the library in `folder`, and yield a `Clock`. Skip the test if there is
    no C compiler.
    """
    if not _compiler():
        pytest.skip("Setting a process's clock needs a C compiler, and none is here.")
    source = folder / "clock.c"
    library = folder / "clock.so"
    source.write_text(_SOURCE)
    command = [
        str(_compiler()),
        "-shared",
        "-fPIC",
        "-w",
        "-o",
        str(library),
        str(source),
    ]
    subprocess.run(command, check=True)
    yield Clock(folder, library)


def _compiler():
    return next((path for name in _COMPILERS if (path := shutil.which(name))), None)
