"""Damage to files, for tests that read hostile ones."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("ZSIQA_FUZZ", "1"))
# Counts and offsets at which readers go wrong: 0, 1, the largest ones with and without sign.
NUMBERS = [bytes(4), b"\1\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff" * 4]


def fuzz(examples: int):
    """Run a test with so many examples, times ZSIQA_FUZZ."""
    return settings(max_examples=examples * TIMES, deadline=None,
                    suppress_health_check=list(HealthCheck))


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Draw a copy of a file: cut, with bits flipped, bytes and numbers replaced, often near its ends."""
    found = bytearray(content)
    if draw(st.integers(0, 3)) == 0:
        del found[draw(st.integers(0, len(found))):]
    for _ in range(draw(st.integers(0, 6)) if found else 0):
        last = len(found) - 1
        place = draw(st.integers(0, last) | st.integers(0, min(64, last)) |
                     st.integers(max(0, last - 64), last))
        new = draw(st.binary(min_size=1, max_size=4) | st.sampled_from(NUMBERS) |
                   st.integers(0, 7).map(lambda bit, at=place: bytes([found[at] ^ 1 << bit])))
        found[place:place + len(new)] = new
    return bytes(found)
