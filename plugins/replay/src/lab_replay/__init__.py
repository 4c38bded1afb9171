"""Replays recorded candles, ticks and sessions."""

from typing import TYPE_CHECKING

from lab.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.ports import Provider


@hookimpl
def lab_providers() -> "Mapping[str, type[Provider]]":
    from lab_replay.provider import ReplayProvider

    return {"replay": ReplayProvider}
