"""Ways to damage a frame, for the fault ``malformed``."""

import re
from collections.abc import Callable
from random import Random
from typing import Final

_DECIMAL: Final = re.compile(rb'"(\d+(?:\.\d+)?)"')
_DATA: Final = re.compile(rb'"data":.*', re.DOTALL)
_STAMP: Final = re.compile(rb'"ts":\d+')

DAMAGES: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda frame: frame[: len(frame) * 2 // 3],
    lambda frame: b"<html><title>Bad gateway</title></html>",
    lambda frame: b"null",
    lambda frame: b"",
    lambda frame: b"[" * 5000,
    lambda frame: frame.replace(b'"', b'"\xff', 1),
    lambda frame: _DATA.sub(b'"data":7}', frame),
    lambda frame: _DATA.sub(b'"data":[[[]]]}', frame),
    lambda frame: _STAMP.sub(b'"ts":"soon"', frame),
    lambda frame: _STAMP.sub(b'"ts":-1', frame),
    lambda frame: _DECIMAL.sub(rb'"-\1"', frame),
    lambda frame: _DECIMAL.sub(b'"NaN"', frame),
    lambda frame: _DECIMAL.sub(b"NaN", frame),
    lambda frame: _DECIMAL.sub(b'"1e400"', frame),
    lambda frame: _DECIMAL.sub(b"null", frame),
    lambda frame: _DECIMAL.sub(b'""', frame),
)


def damage(frame: bytes, random: Random) -> bytes:
    """Return the frame damaged in one of the ways above."""
    return random.choice(DAMAGES)(frame)
