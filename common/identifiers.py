"""Makes identifiers that sort by the time they were made: UUIDv7 for the desk's public
ids, ULID for the gateway's.
"""

import os
import time
import uuid

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def uuid7() -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, the
    rest random.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


def crockford(value: int, length: int) -> str:
    """Return `value` as `length` digits of Crockford's base 32, most significant first."""
    return "".join(
        CROCKFORD[(value >> (5 * index)) & 31] for index in reversed(range(length))
    )


def ulid() -> str:
    """Return a ULID: 26 digits that sort by creation time, here with the clock's
    nanoseconds.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    return crockford(
        (milliseconds << 80)
        | (nanoseconds << 60)
        | (int.from_bytes(os.urandom(8)) >> 4),
        26,
    )
