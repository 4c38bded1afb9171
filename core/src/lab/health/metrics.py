"""The health of a session in Prometheus' text format, version 0.0.4.

Names have base units, and ``_total`` where they only grow. Labels hold names of the run's own parts, and the run's id
stands in ``lab_run_info`` alone, so that a new run adds one series and not a hundred.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple, get_args

from lab.records.health import Health, HealthStatus

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Value = float | int | None
_Samples = Iterable[tuple[Mapping[str, str], Value]]


class Metric(NamedTuple):
    """One metric: its name, kind and help, and how its samples come from a `Health`; a value of ``None`` is none."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: Callable[[Health], _Samples]


def _one(name: str, kind: Literal["gauge", "counter"], text: str, value: Callable[[Health], object]) -> Metric:
    """Return a metric without labels."""
    return Metric(name, kind, text, lambda health: [({}, _figure(value(health)))])


def _money(name: str, text: str, value: Callable[[Health], object]) -> Metric:
    """Return a gauge of money, labelled with its currency; no sample until that is known."""

    def samples(health: Health) -> _Samples:
        return [({"currency": health.currency}, _figure(value(health)))] if health.currency else ()

    return Metric(name, "gauge", text, samples)


def _figure(value: object) -> Value:
    return None if value is None else float(value)  # type: ignore[arg-type]


def _info(health: Health) -> _Samples:
    labels = {
        "run_id": health.run_id,
        "version": health.version,
        "provider": health.provider,
        "venue": health.venue,
        "realm": health.realm,
        "strategies": ",".join(health.strategies),
        "symbol": health.symbol,
        "interval": health.interval,
    }
    return [(labels, 1)]


def _status(health: Health) -> _Samples:
    return [({"status": one}, int(one == health.status)) for one in get_args(HealthStatus)]


def _held(health: Health) -> _Samples:
    held = {(one.strategy, one.symbol): float(one.quantity) for one in health.positions}
    symbols = health.symbols or (health.symbol,)
    flat = [(name, symbol) for name in health.strategies for symbol in symbols if (name, symbol) not in held]
    places = [*held, *flat]
    return [({"strategy": name, "symbol": symbol}, held.get((name, symbol), 0)) for name, symbol in places]


def _prices(health: Health) -> _Samples:
    if not health.prices:
        return [({}, health.price)]
    return [({"symbol": symbol}, price) for symbol, price in health.prices.items()]


def _ended(health: Health) -> _Samples:
    totals = health.totals
    ends = {"cancelled": totals.cancelled, "expired": totals.expired, "rejected": totals.rejected}
    return [({"how": how}, count) for how, count in ends.items()]


METRICS: Final = (
    Metric("lab_run_info", "gauge", "The run, as labels; always 1.", _info),
    Metric("lab_status", "gauge", "1 for the status the session has, 0 for every other.", _status),
    Metric(
        "lab_feed_live", "gauge", "Whether the connection to the provider is live: 1 or 0.",
        lambda health: [({}, int(health.feed == "live"))],
    ),
    Metric(
        "lab_feed_age_seconds", "gauge", "Time since the newest market data, by kind.",
        lambda health: [({"kind": kind}, age) for kind, age in health.feed_ages.items()],
    ),
    _one("lab_silence_seconds", "gauge", "Time since the session last said how it is.", lambda h: h.age_seconds),
    _one("lab_lives", "gauge", "Processes that a supervisor has started for the session so far.", lambda h: h.lives),
    _one("lab_uptime_seconds", "gauge", "How long this process has run the session.", lambda h: h.uptime_seconds),
    _one("lab_run_seconds", "gauge", "How long the run lasts, in all processes.", lambda h: h.duration_seconds),
    _one("lab_remaining_seconds", "gauge", "How long the run goes on.", lambda h: h.seconds_left),
    Metric("lab_price", "gauge", "Middle of the newest quote, without quotes the newest close.", _prices),
    _money("lab_equity", "Cash and unrealised profit of all books.", lambda h: h.equity),
    _money("lab_starting_equity", "Deposits of all accounts.", lambda h: h.starting_equity),
    _money("lab_max_drawdown", "Largest fall of equity from a peak.", lambda h: h.totals.max_drawdown),
    _money("lab_fees_paid", "Fees of all fills; rebates make it smaller.", lambda h: h.totals.fees_paid),
    _money("lab_funding_paid", "Funding paid; below 0 where it was received.", lambda h: h.totals.funding_paid),
    Metric("lab_position_quantity", "gauge", "Quantity held: above 0 long, below 0 short.", _held),
    _one("lab_working_orders", "gauge", "Orders neither filled nor ended.", lambda h: h.working_orders),
    _one("lab_errors_total", "counter", "Errors of provider, strategies and reporters.", lambda h: h.errors),
    _one("lab_inputs_total", "counter", "Inputs the engine took.", lambda h: h.counters.inputs),
    _one("lab_quotes_total", "counter", "Quotes the engine took.", lambda h: h.totals.quotes),
    _one("lab_late_quotes_total", "counter", "Quotes and depth that came too late.", lambda h: h.totals.late_quotes),
    _one(
        "lab_conflated_quotes_total", "counter", "Quotes and depth that a newer one replaced.",
        lambda h: h.counters.conflated_quotes,
    ),
    _one("lab_malformed_messages_total", "counter", "Messages against the protocol.", lambda h: h.counters.malformed),
    _one("lab_candles_total", "counter", "Closed candles, without back-filled ones.", lambda h: h.totals.candles),
    _one("lab_backfilled_candles_total", "counter", "Candles of history.", lambda h: h.totals.backfilled),
    _one(
        "lab_unconfirmed_candles_total", "counter", "Closed candles the venue did not confirm in time.",
        lambda h: h.totals.unconfirmed,
    ),
    _one(
        "lab_ignored_candles_total", "counter", "Candles that strategies had passed already.",
        lambda h: h.totals.ignored_candles,
    ),
    _one("lab_gaps_total", "counter", "Holes found in the candles.", lambda h: h.totals.gaps),
    _one("lab_decisions_total", "counter", "Times a strategy was asked about a candle.", lambda h: h.totals.decisions),
    _one("lab_signals_total", "counter", "Requests recorded and not placed.", lambda h: h.totals.signals),
    _one("lab_orders_total", "counter", "Orders accepted.", lambda h: h.totals.orders),
    Metric("lab_orders_ended_total", "counter", "Orders that ended without being filled.", _ended),
    _one("lab_refusals_total", "counter", "Requests refused by a gate or a rule.", lambda h: h.totals.refusals),
    _one("lab_fills_total", "counter", "Fills, partial ones included.", lambda h: h.totals.fills),
    _one("lab_trades_total", "counter", "Round trips.", lambda h: h.totals.trades),
    _one("lab_liquidations_total", "counter", "Liquidations.", lambda h: h.totals.liquidations),
)  # fmt: skip


def metrics_text(health: Health) -> str:
    """Return every metric with its help and type; one without a sample now is left out."""
    lines: list[str] = []
    for metric in METRICS:
        samples = [
            f"{metric.name}{_labelled(labels)} {_written(value)}"
            for labels, value in metric.samples(health)
            if value is not None
        ]
        if samples:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *samples]
    return "\n".join(lines) + "\n"


def _labelled(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _written(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
