"""Reads the parameters of a call; refuses bad ones with the venue's error texts."""

from collections.abc import Mapping

from lab.domain.time import MILLISECOND_NS

Params = Mapping[str, str]


class Refused(Exception):
    """An application error: HTTP 200 with a code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def required(params: Params, name: str) -> str:
    """Return a parameter that must be there."""
    value = params.get(name)
    if not value:
        raise Refused(1, "Network Error")
    return value


def whole(params: Params, name: str, default: int) -> int:
    """Return a whole number above 0."""
    text = params.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise Refused(10002, "Parameter error")
    return int(text)


def time_of(params: Params, name: str, default_ns: int) -> int:
    """Return a time, which the call has in ms, in ns."""
    text = params.get(name)
    if not text:
        return default_ns
    if not text.isdecimal() or len(text) > 15:
        raise Refused(10002, "Parameter error")
    return int(text) * MILLISECOND_NS
