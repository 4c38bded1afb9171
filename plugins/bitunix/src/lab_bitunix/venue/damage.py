"""Ways to damage a frame, for the faults ``malformed``, ``skew`` and ``levels``."""

import re
from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from lab_bitunix.venue.text import to_json

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


def skew(frame: bytes, seconds: float) -> bytes:
    """Return a frame with its stamp moved."""
    moved = round(seconds * 1000)
    return _STAMP.sub(lambda stamp: b'"ts":%d' % (int(stamp[0][5:]) + moved), frame, count=1)


Sides = tuple[list[list[Any]], list[list[Any]]]

BOOK_DAMAGES: Final[tuple[Callable[[Sides], Sides], ...]] = (
    lambda sides: (sides[1], sides[0]),  # crossed
    lambda sides: (sides[0][::-1], sides[1]),  # the best bid last
    lambda sides: (sides[0], sides[1][::-1]),
    lambda sides: (sides[0], [level for level in sides[1] for _ in range(2)]),
    lambda sides: ([[price, "0"] for price, _ in sides[0]], sides[1]),
    lambda sides: (sides[0], [[price] for price, _ in sides[1]]),
    lambda sides: ([], sides[1]),
    lambda sides: (sides[0], []),
)
"""Bids and asks, each level whole, as no book has them. Those about the order need more than one level."""


def damage_levels(frame: bytes, random: Random) -> bytes:
    """Return a frame of levels with its book damaged in one of the ways above; JSON and figures stay readable."""
    message = msgspec.json.decode(frame)
    bids, asks = random.choice(BOOK_DAMAGES)((message["data"]["b"], message["data"]["a"]))
    return to_json({**message, "data": {"b": bids, "a": asks}})


def damage(frame: bytes, random: Random) -> bytes:
    """Return the frame damaged in one of the ways above."""
    return random.choice(DAMAGES)(frame)
