"""Settings that nobody may see, and the last filter before a file or a terminal: it hides them in every form.

A plugin declares one by its type::

    api_key: Secret | None = field(default=None, metadata={"help": "key of the archive"})

It comes from the environment or a file, never from the command line, which every user of the machine can read.
"""

import re
from typing import Any, Final, NoReturn

HIDDEN: Final = "***"
LEAST: Final = 8
"""Characters of the shortest secret: a shorter one would hide figures that have nothing to do with it."""
_MOST: Final = 4096

_known: Final[set[str]] = set()
_patterns: Final[list[re.Pattern[str]]] = []  # one at most, which hides them all


class Secret:
    """A text that shows itself only when it is asked to. Its other forms are hidden in what lab writes, too."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Take the text and have it hidden from now on. Raises ``ValueError`` for one that is too short or too long."""
        self._text = text
        if text == HIDDEN:  # a run that is proved: its journal does not have it
            return
        if not LEAST <= len(text) <= _MOST:
            raise ValueError(f"expected a secret of {LEAST} to {_MOST} characters")
        _hide(text)

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __str__(self) -> str:
        """Show nothing."""
        return HIDDEN

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        """Show nothing, in any format."""
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        """Compare the texts."""
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        """Return the same for all secrets: a hash of a short text tells the text."""
        return 0

    def __reduce__(self) -> NoReturn:
        """Refuse to be written to bytes. Raises ``TypeError``."""
        raise TypeError("a secret is not pickled")

    def __copy__(self) -> "Secret":
        """Return itself: it can't change."""
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Secret":
        """Return itself: it can't change."""
        return self


def knows_secrets() -> bool:
    """Return whether there is anything to hide."""
    return bool(_patterns)


def without_secrets(text: str) -> str:
    """Return a text with every known secret in it replaced, whatever form it has there."""
    return _patterns[0].sub(HIDDEN, text) if _patterns else text


def bytes_without_secrets(data: bytes) -> bytes:
    """Return bytes of text with every known secret in them replaced."""
    if not _patterns:
        return data
    return without_secrets(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _hide(text: str) -> None:
    _known.update(_forms(text))
    longest_first = sorted(_known, key=len, reverse=True)  # one may be part of another
    _patterns[:] = [re.compile("|".join(map(re.escape, longest_first)))]


def _forms(text: str) -> set[str]:
    """Return how a text may look: as it is, quoted for JSON, URLs and HTML, in base64, in hexadecimal, backwards."""
    import base64
    import html
    import json
    from urllib.parse import quote, quote_plus

    data = text.encode("utf-8", "surrogatepass")
    found = {text, text[::-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], html.escape(text)}
    found |= {quote(text, safe=""), quote_plus(text), quote(text), repr(text)[1:-1], repr(data)[2:-1]}
    # An exception shows its arguments as Python writes them, and a row holds that as JSON: both, one in the other.
    found |= {json.dumps(form, ensure_ascii=plain)[1:-1] for form in tuple(found) for plain in (True, False)}
    found |= {data.hex(), data.hex().upper(), data.hex(":"), data.hex(" ")}
    for before in range(3):  # what stands before it moves the letters of base64
        for encoded in (base64.b64encode(bytes(before) + data), base64.urlsafe_b64encode(bytes(before) + data)):
            whole = encoded.decode().rstrip("=")
            # The first letters hold bits of what stands before, the last one bits of what comes after.
            found |= {whole[-(-before * 8 // 6) :], whole[-(-before * 8 // 6) : -1]}
    found.add(base64.b32encode(data).decode().rstrip("="))
    return {form for form in found if len(form) >= LEAST}
