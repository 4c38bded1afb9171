"""What a live session itself counted, beside the engine: warm-up, feed losses, malformed input."""

from collections.abc import Collection, Mapping
from typing import Any

from lab.composition.header import left_open
from lab.ports import FeedState
from lab.session.inbox import Inbox
from lab.session.runner import Runner


def warmth(runner: Runner | None) -> str:
    """Return how far the warm-up came where it is not complete, else nothing."""
    if runner is None:
        return ""
    have = runner.engine.state.markets[runner.symbol].history.count
    return f"seed_incomplete {have}/{runner.lookback}" if have < runner.lookback else ""


def session_state(
    runner: Runner | None,
    inbox: Inbox,
    header: Mapping[str, Any],
    *,
    hosts: Collection[str],
    errors: int,
    waits: int,
    seconds: float,
    ended: bool,
) -> dict[str, Any]:
    """Return what the session itself counted; with the engine's totals the report is made from it.

    ``hosts`` are those the provider contacted, ``waits`` is how often it was asked for the instrument in vain,
    ``seconds`` how long the session runs.
    """
    return {
        "errors": errors,
        "duration_seconds": round(seconds, 3),
        "contacted_hosts": list(hosts),
        "degradations": _degradations(runner, inbox, waits=waits, ended=ended),
        "limits": header.get("limits", {}),
        "fees": header.get("fees", {}),
        "warm": warmth(runner),
        "counters": {
            "conflated_quotes": inbox.conflated,
            "malformed": inbox.malformed_count,
            "inputs": runner.tape.inputs if runner is not None else 0,
        },
    }


def _degradations(runner: Runner | None, inbox: Inbox, *, waits: int, ended: bool) -> list[str]:
    found = [warmth(runner)] if warmth(runner) else []
    if runner is not None and runner.loader.failures:
        found.append(f"history_failures {runner.loader.failures}")
    if waits:
        found.append(f"instrument_failures {waits}")
    if runner is not None and runner.shut_seconds >= 1.0:
        found.append(f"trading_shut {runner.shut_seconds:.0f} s after it had been open")
    drops = inbox.states.get(FeedState.DOWN.value, 0)
    if drops:
        found.append(f"feed_down {drops}")
    if inbox.malformed_count:
        found.append(f"malformed {inbox.malformed_count}")
    if ended and runner is not None:
        found += left_open(runner.engine)
    return found
