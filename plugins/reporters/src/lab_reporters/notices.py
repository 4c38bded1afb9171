"""What the session notes about feed, history and input, as sentences."""

from collections.abc import Mapping
from typing import Final

from lab.domain.control import Notice

from lab_reporters import text

_SENTENCES: Final[Mapping[tuple[str, str], str]] = {
    ("instrument", "unavailable"): "the provider has not described the instrument yet: {error}",
    ("session", "resumed"): "the session goes on; it was cut off at {cut_off}",
    ("warm-up", "done"): "history for the warm-up is there: {candles} candles, {needed} needed",
    ("warm-up", "failed"): "history for the warm-up could not be fetched: {error}; next try in {retry_seconds} s",
    ("warm-up", "refused"): "there is no history for the warm-up: {error}",
    ("warm-up", "short"): "the history that came is too short for the warm-up: {candles} candles, {needed} needed",
    ("warm-up", "old"): "the history that came ends too early for the warm-up, with the candle of {newest}",
    ("warm-up", "kept"): "{candles} candles of {origin} are there from an earlier run",
    ("warm-up", "kept, and different"): "candles of an earlier run differ from those of {origin} and are not used",
    ("warm-up", "not kept"): "candles are not kept for a restart: {error}",
    ("backfill", "done"): "missing candles were fetched: {candles}",
    ("backfill", "failed"): "missing candles could not be fetched: {error}",
    ("backfill", "refused"): "missing candles can't be fetched: {error}",
    ("backfill", "too long"): "{candles} candles are missing, only the newest {fetched} of them are fetched",
    ("backfill", "missing"): "candles stay missing: {candles}, the first of {first}",
}


def sentence(notice: Notice) -> str:
    """Return what a notice says. One of a topic or state that is unknown here is shown with its words as they are."""
    detail = dict(notice.detail)
    state = detail.get("state", "")
    if notice.topic == "feed" and state:
        return f"the feed is {state}{f': {said}' if (said := detail.get('detail')) else ''}"
    if notice.topic == "malformed" and {"number", "reason", "sample"} <= detail.keys():
        return f"malformed input, number {detail['number']}: {detail['reason']}; it begins {detail['sample']}"
    if notice.topic == "lag" and {"seconds", "where"} <= detail.keys():
        return f"the event loop stood still for {detail['seconds']} s, in {detail['where'] or 'an unknown place'}"
    if (first_ns := detail.get("first_ns", "")).isdecimal():
        detail["first"] = text.second(int(first_ns))
    of = f"{detail['symbol']}: " if "symbol" in detail else ""
    try:
        return of + _SENTENCES[notice.topic, state].format_map(detail)
    except KeyError:
        return f"{notice.topic}: {text.joined(detail)}"
