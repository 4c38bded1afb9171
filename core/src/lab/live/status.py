"""The session's own counters, beside the engine's: warm-up, feed losses, malformed input."""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from lab.composition.header import left_open
from lab.domain.time import SECOND_NS, format_time
from lab.engine.engine import Engine
from lab.journal.codec import INPUT_KINDS
from lab.journal.report import cold
from lab.live.inbox import Inbox
from lab.live.runner import Runner
from lab.ports import FeedState
from lab.records.report import Header
from lab.records.run import Counters, SessionState


def warmth(runner: Runner | None) -> str:
    """Return in words how far an incomplete warm-up came, or an empty text."""
    if runner is None or runner.candles >= runner.lookback:
        return ""
    return cold(runner.candles, runner.lookback)


def halted_symbols(engine: Engine) -> list[str]:
    """Return why no entry of one symbol alone may be placed, each reason with the symbol; none with one symbol."""
    markets = engine.state.markets.values()
    return [f"{market.symbol}: {why}" for market in markets for why in market.halted_by]


def tripped(engine: Engine) -> list[str]:
    """Return which breakers stopped which strategy's entries, and why."""
    halts = {book.name: book.halts for book in engine.state.books}
    return [f"{name}: {gate}: {why}" for name, found in halts.items() for gate, why in found.items()]


def session_state(
    runner: Runner | None,
    inbox: Inbox,
    header: Header | None,
    *,
    hosts: Collection[str],
    reporters: Sequence[str],
    left_out: Sequence[str],
    errors: int,
    waits: int,
    lagged: int,
    seconds: float,
    ended: bool,
) -> SessionState:
    """Return the session's own counters; the report is made from these and the engine's totals.

    ``hosts`` are those the provider contacted, ``reporters`` the degradations by reporters while the run goes on,
    ``left_out`` those about what could not be taken over from an earlier run,
    ``waits`` is how often it was asked for the instrument in vain, ``lagged`` how often the loop stood still,
    ``seconds`` how long the session runs.
    """
    return SessionState(
        errors=errors + len(reporters),
        duration_seconds=round(seconds, 3),
        first_ns=runner.first_ns if runner is not None else 0,
        contacted_hosts=tuple(hosts),
        degradations=(*left_out, *_degradations(runner, inbox, waits=waits, lagged=lagged, ended=ended), *reporters),
        limits=header.limits if header is not None else {},
        fees=header.fees if header is not None else {},
        warm=warmth(runner),
        counters=Counters(
            inputs=runner.tape.inputs if runner is not None else 0,
            malformed=inbox.malformed_count,
            conflated_quotes=inbox.conflated,
        ),
    )


def added(before: SessionState, since: SessionState) -> SessionState:
    """Return the counters of a run that was resumed: what it had counted before, and since."""
    counters = replace(
        since.counters,
        malformed=before.counters.malformed + since.counters.malformed,
        conflated_quotes=before.counters.conflated_quotes + since.counters.conflated_quotes,
    )
    return replace(
        since,
        errors=before.errors + since.errors,
        duration_seconds=round(before.duration_seconds + since.duration_seconds, 3),
        contacted_hosts=tuple(dict.fromkeys((*before.contacted_hosts, *since.contacted_hosts))),
        degradations=tuple(dict.fromkeys((*before.degradations, *since.degradations))),
        counters=counters,
    )


def _degradations(runner: Runner | None, inbox: Inbox, *, waits: int, lagged: int, ended: bool) -> list[str]:
    found = [] if runner is None else _history(runner)
    if waits:
        found.append(f"instrument_failures {waits}")
    if runner is not None and runner.shut_seconds >= 1.0:
        found.append(f"trading_shut {runner.shut_seconds:.0f} s after it had been open")
    if runner is not None and runner.slow_steps:
        found.append(_slow(runner))
    if runner is not None and runner.holds:
        found.append(f"journal_waited {runner.holds} times: the disk was full, or another program held the journal")
    if lagged:
        found.append(f"loop_stood_still {lagged} times, for more than a quarter of a second each")
    for clock, (times, most_ns) in inbox.steps.items():
        found.append(f"clock_stepped {clock} {times} times, by {most_ns / SECOND_NS:.0f} s at most")
    drops = inbox.states.get(FeedState.DOWN.value, 0)
    if drops:
        found.append(f"feed_down {drops}")
    if inbox.malformed_count:
        found.append(f"malformed {inbox.malformed_count}")
    if ended and runner is not None:
        found += left_open(runner.engine)
    return found


def _history(runner: Runner) -> list[str]:
    found = []
    for symbol, loader in runner.loaders.items():
        name = f"{symbol} " if len(runner.loaders) > 1 else ""
        candles = runner.engine.state.markets[symbol].history.count
        if candles < runner.lookback:
            found.append(f"seed_incomplete {name}{candles}/{runner.lookback}")
        if loader.failures:
            found.append(f"history_failures {name}{loader.failures}")
        if loader.warm_up.refused:
            found.append(f"history_refused: {name}{loader.warm_up.refused}")
        if loader.missing:
            found.append(f"candles_missing {name}{loader.missing}")
    return found


def _slow(runner: Runner) -> str:
    """Return how many steps were slow, and on what the slowest was. Whose call it was would cost time in every step."""
    seconds, event = runner.slowest
    on = "" if event is None else f" on {INPUT_KINDS[event.__class__]} at {format_time(event.time_ns)}"
    kept = "a strategy, gate or broker kept the session from its feed"
    return f"slow_steps {runner.slow_steps}: {kept}, longest {seconds:.1f} s{on}"
