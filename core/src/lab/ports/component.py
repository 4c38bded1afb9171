"""What every component has: settings as init fields, state as the others, and its own copy of that state."""

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec


class Component:
    """Base of every component: settings are init fields, state is ``init=False`` fields."""

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-ready values. The default copies every ``init=False`` field.

        Promise: `restore` on a new instance with the same settings brings back a component that decides the same.
        """
        return {name: msgspec.to_builtins(getattr(self, name)) for name, _ in _state_fields(type(self))}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over a state that `snapshot` gave."""
        for name, kind in _state_fields(type(self)):
            if name in snapshot:
                setattr(self, name, msgspec.convert(snapshot[name], kind, strict=False))


def _state_fields(cls: Any) -> list[tuple[str, Any]]:
    """Return name and type of a component's state fields."""
    attrs.resolve_types(cls)
    return [(f.name, f.type) for f in attrs.fields(cls) if not f.init]
