"""Damaged copies of samples: of bytes by flips, cuts and splices, of JSON also by values that are legal and extreme."""

import random
import re
from collections.abc import Sequence
from typing import Final

_VALUE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null')
_EXTREME: Final = (
    b"0", b"-0", b"-0.0", b"-1", b"1e308", b"1e999", b"-1e999", b"1e-999", b"5e-324", b"9007199254740993",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"1" + b"0" * 400, b"1" * 5000,
    b"1e400000", b"1e-400000", b"NaN", b"Infinity", b"null", b"true", b"false", b"[]", b"{}", b"[[[]]]",
    b'""', b'" "', b'"1"', b'"1e5"', b'"nan"', b'"inf"', b'"1e-400000"', b'"1e400000"', b'"1e999999999999999999"',
    b'"-1"', b'"\\u0000"', b'"\\ud800"', b'"\\u202e\\u001b[31m"', b'"' + b"x" * 3000 + b'"',
    b"[" * 2000, b'{"a":' * 2000, b"\xff\xfe", b"\xc3\x28",
)  # fmt: skip
_TEXT: Final = (
    b"\n",
    b"\r",
    b"\0",
    b",",
    b'"',
    b"\xef\xbb\xbf",
    b";",
    b"=",
    b"[",
    b"]",
    b"#",
    b"\t",
    b"  ",
    b"-",
    b"e",
)


class Mutations:
    """An endless supply of damaged samples, the same ones for the same seed."""

    def __init__(self, samples: Sequence[bytes], seed: int) -> None:
        self._samples = [sample for sample in samples if sample]
        self._draw = random.Random(seed)

    def next(self) -> bytes:
        """Return a sample with one to four damages."""
        return mutated(self._draw, self._samples)


def mutated(draw: random.Random, samples: Sequence[bytes]) -> bytes:
    """Return one of the samples with one to four damages; ``draw`` decides."""
    data = draw.choice(samples)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = draw.choice(_DAMAGES)(draw, data, samples)
    return data


def _place(draw: random.Random, data: bytes) -> int:
    return draw.randrange(len(data) + 1)


def _flip(draw: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    place = draw.randrange(len(data))
    return data[:place] + bytes((data[place] ^ 1 << draw.randrange(8),)) + data[place + 1 :]


def _cut(draw: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: _place(draw, data)]


def _leave_out(draw: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin = _place(draw, data)
    return data[:begin] + data[begin + draw.choice((1, 1, 2, 8, 64)) :]


def _insert(draw: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    place = _place(draw, data)
    return data[:place] + draw.choice(_TEXT) + data[place:]


def _repeat(draw: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = sorted((_place(draw, data), _place(draw, data)))
    return data[:end] + data[begin:end] * draw.choice((1, 2, 20)) + data[end:] if end - begin < 2000 else data


def _splice(draw: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    other = draw.choice(samples)
    return data[: _place(draw, data)] + other[_place(draw, other) :]


def _value(draw: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Put an extreme value in a value's place, or the value of another place."""
    found = [*_VALUE.finditer(data[:20_000])]
    if not found:
        return data
    one = draw.choice(found)
    return data[: one.start()] + draw.choice((draw.choice(_EXTREME), draw.choice(found)[0])) + data[one.end() :]


_DAMAGES: Final = (_flip, _cut, _leave_out, _insert, _repeat, _splice, _value, _value, _value, _value)
