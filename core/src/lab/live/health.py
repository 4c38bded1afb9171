"""Says how a session is, for ``/health`` and ``/metrics``."""

from importlib.metadata import version
from typing import Final

import msgspec
from msgspec.structs import replace

from lab.composition.assembly import Assembly
from lab.domain.market import Funding
from lab.domain.time import SECOND_NS
from lab.engine.state import Market
from lab.health.board import Board
from lab.live.runner import Price, Runner
from lab.live.status import tripped
from lab.ports import Status
from lab.records.base import exact
from lab.records.health import Health, HealthStatus, HeldPosition
from lab.records.run import SessionState

_BEAT_TEXTS: Final = 20
_TEXT_MOST: Final = 200
_BEST_FIRST: Final[tuple[HealthStatus, ...]] = ("trading", "halted", "warming", "stale")


def first_health(assembly: Assembly) -> Health:
    """Return the health of a session that has not begun."""
    run = assembly.settings
    return Health(
        status="starting",
        why_not_trading=("the run has not begun",),
        version=version("lab-trading"),
        provider=assembly.provider.name,
        strategies=tuple(part.name for part in assembly.strategies),
        symbol=", ".join(run.symbols),
        symbols=run.symbols,
        interval=run.interval,
    )


def as_beat(health: Health) -> str:
    """Return a health as a supervisor is told it, which has room for some of the degradations."""
    short = replace(health, degradations=tuple(text[:_TEXT_MOST] for text in health.degradations[:_BEAT_TEXTS]))
    return msgspec.json.encode(short).decode()


class HealthTeller:
    """Posts a session's health on a board. Only for the trading thread."""

    def __init__(self, board: Board, run_id: str) -> None:
        self._board = board
        self._run_id = run_id

    def due(self, begun: bool) -> bool:
        """Whether it is time to post again: twice a second, and at once when the session has ``begun``."""
        return self._board.due or (begun and self._board.newest.status == "starting")

    def waiting(self, why: str, state: SessionState, ending: str) -> None:
        """Post that the provider has not described the instrument; ``why`` is what it said to that."""
        reason = why or "the provider was not asked yet"
        self._post(replace(self._board.newest, status="starting", why_not_trading=(reason,)), state, 0.0, ending)

    def running(self, runner: Runner, status: Status, state: SessionState, uptime: float, ending: str) -> None:
        """Post how a session is that has begun; ``ending`` is why it comes to its end, empty while it does not."""
        market = next(iter(runner.engine.state.markets.values()))
        held = (
            HeldPosition(strategy=one.strategy, symbol=one.symbol, quantity=exact(one.quantity), price=exact(one.price))
            for one in status.positions
        )
        health = replace(
            self._board.newest,
            status=_in_a_word(runner),
            why_not_trading=_reasons(runner),
            venue=runner.declared.origin,
            realm=runner.declared.realm,
            currency=market.instrument.currency,
            feed=status.feed,
            feed_ages=_ages(runner),
            price=status.price,
            prices=status.prices if len(status.prices) > 1 else {},
            equity=exact(status.equity),
            starting_equity=exact(status.starting_equity),
            positions=tuple(held),
            working_orders=len(runner.engine.state.working),
            seconds_left=None if status.seconds_left is None else round(status.seconds_left, 3),
            totals=status.totals,
        )
        self._post(health, state, uptime, ending)

    def _post(self, health: Health, state: SessionState, uptime: float, ending: str) -> None:
        if ending:
            health = replace(health, status="ending", why_not_trading=(f"the run ends: {ending}",))
        self._board.post(
            replace(
                health,
                run_id=self._run_id,
                uptime_seconds=round(uptime, 3),
                duration_seconds=state.duration_seconds,
                errors=state.errors,
                degradations=state.degradations,
                counters=state.counters,
            )
        )


def _in_a_word(runner: Runner) -> HealthStatus:
    """Return whether a session trades, and if not, what is first in the way; of several symbols of the best one."""
    found = {_of_symbol(runner, symbol) for symbol in runner.loaders}
    return next(word for word in _BEST_FIRST if word in found)


def _of_symbol(runner: Runner, symbol: str) -> HealthStatus:
    if runner.price(symbol) is not Price.FRESH:
        return "stale"
    warm_up = runner.loaders[symbol].warm_up
    if not warm_up.done or warm_up.candles < runner.lookback:
        return "warming"
    state = runner.engine.state
    reasons = runner.halt_reasons() or (len(runner.loaders) > 1 and runner.halt_reasons(symbol))
    if reasons or state.paused_by or all(book.halts or book.stopped for book in state.books):
        return "halted"
    return "trading"


def _reasons(runner: Runner) -> tuple[str, ...]:
    engine = runner.engine
    paused = (engine.state.paused_by,) if engine.state.paused_by else ()
    stopped = (f"{book.name}: stopped" for book in engine.state.books if book.stopped)
    symbols = runner.loaders if len(runner.loaders) > 1 else ()
    alone = (f"{symbol}: {why}" for symbol in symbols for why in runner.halt_reasons(symbol))
    return (*runner.halt_reasons(), *alone, *paused, *stopped, *tripped(engine))


def _ages(runner: Runner) -> dict[str, float]:
    """Return how old the newest market data of each kind are: quotes by their arrival, others by their stamp.

    Of several symbols the oldest counts.
    """
    ages: dict[str, float] = {}
    for symbol, market in runner.engine.state.markets.items():
        for kind, age in _ages_of(runner, symbol, market).items():
            ages[kind] = max(age, ages.get(kind, 0.0))
    return {kind: round(age, 3) for kind, age in sorted(ages.items())}


def _ages_of(runner: Runner, symbol: str, market: Market) -> dict[str, float]:
    now_ns = runner.inbox.now_ns()
    candles = market.history.candles
    stamps = {
        "candle": candles[-1].open_ns + market.history.interval_ns if candles else 0,
        "trade": market.trade_ns,
        "depth": market.depth_ns,
        "funding": getattr(market.newest(Funding), "time_ns", 0),
    }
    # Until the venue's time is known, which in a run that was resumed has to be learnt anew, no stamp has an age.
    ages = {kind: max(0.0, (now_ns - stamp) / SECOND_NS) for kind, stamp in stamps.items() if stamp and now_ns}
    quote_s = runner.clock.monotonic() - runner.inbox.quote_at[symbol]
    if quote_s != float("inf"):
        ages["quote"] = max(0.0, quote_s)
    return ages
