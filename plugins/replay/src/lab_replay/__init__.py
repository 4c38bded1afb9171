"""Replays recorded candles, ticks and sessions."""

from collections.abc import Mapping

from lab.plugins.hookspecs import hookimpl


@hookimpl
def lab_providers() -> Mapping[str, str]:
    return {"replay": "lab_replay.provider:ReplayProvider"}
