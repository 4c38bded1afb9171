"""A seeded price path for lab: the same seed gives the same bytes."""

from typing import TYPE_CHECKING

from lab.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.ports import Provider


@hookimpl
def lab_providers() -> "Mapping[str, type[Provider]]":
    from lab_mock.provider import MockProvider

    return {"mock": MockProvider}
