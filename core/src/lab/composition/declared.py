"""What a provider declares of itself: asked once, checked, and kept, so that no later answer can end a run."""

from collections.abc import Callable
from typing import Any, Final

import attrs

from lab.engine.protocols import describe_failure, describe_value
from lab.errors import PluginError
from lab.ports import PriceSource, Provider, Realm
from lab.secret import without_secrets


@attrs.frozen
class Declared:
    """The answers of the methods of `lab.ports.Provider` that bear these names."""

    realm: Realm
    origin: str
    price_source: PriceSource
    quote_silence_s: float
    history_depth: int | None


_CHECKS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "realm": (lambda value: isinstance(value, Realm), "a Realm"),
    "origin": (lambda value: type(value) is str and value.isprintable(), "printable text"),
    "price_source": (lambda value: isinstance(value, PriceSource), "a PriceSource"),
    "quote_silence_s": (lambda value: type(value) in {int, float} and value > 0, "seconds, a number above 0"),
    "history_depth": (lambda value: value is None or (type(value) is int and value >= 0), "a whole number, or None"),
}


def declared(name: str, provider: Provider) -> Declared:
    """Ask a provider. Raises `PluginError` naming the method that raises, or gives what it may not."""
    answers: dict[str, Any] = {}
    for call, (is_sound, expected) in _CHECKS.items():
        try:
            answer = getattr(provider, call)()
        except BaseException as error:
            raise PluginError(f"provider {name} failed in {call}: {describe_failure(error)}") from error
        if not is_sound(answer):
            raise PluginError(f"provider {name}: {call}() gave {describe_value(answer)}, expected {expected}")
        answers[call] = without_secrets(answer) if type(answer) is str else answer
    return Declared(**answers)
