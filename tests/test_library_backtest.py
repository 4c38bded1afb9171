"""`lab.backtest` from a program: the same run as the command's, whatever the prices come in, and what it returns."""

import asyncio
import contextlib
import decimal
import gc
import pickle
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import lab as library
import pytest
from attrs import define, field
from lab import Candle, OrderRequest, Side, Strategy, View
from lab.journal.reader import JournalReader
from lab_sma_strategy.strategy import SmaCross

MINUTE = 60_000_000_000
BEGIN = 1_577_836_800_000_000_000
CLOSES = [1000.0, 1010.0, 990.0, 985.5, 995.0, 1020.0, 1030.0, 1015.0, 1005.0, 1040.0]
LEAK = 200_000  # bytes a run; its journal alone has 500,000


@define(kw_only=True)
class Swing(Strategy):
    """Holds one coin from every second candle to the next."""

    size: Decimal = Decimal(1)
    seen: int = field(init=False, default=0)

    def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
        self.seen += 1
        side = Side.BUY if self.seen % 2 else Side.SELL
        return [OrderRequest(candle.symbol, side, self.size)]


@define(kw_only=True)
class Each(Strategy):
    """Holds one coin of each symbol from every second of its candles to the next."""

    def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
        held = view.position(candle.symbol).quantity
        return [OrderRequest(candle.symbol, Side.SELL if held else Side.BUY, Decimal(1))]


def candles() -> list[Candle]:
    opened = CLOSES[0]
    made = []
    for number, close in enumerate(CLOSES):
        at = BEGIN + number * MINUTE
        high, low = max(opened, close) + 0.5, min(opened, close) - 0.5
        made.append(Candle("X", at, at + MINUTE, opened, high, low, close, 1000.0))
        opened = close
    return made


def columns(**other: Any) -> dict[str, Any]:
    rows = candles()
    named = {"open": 3, "high": 4, "low": 5, "close": 6, "volume": 7}
    return (
        {"time": [row.open_ns for row in rows]} | {key: [row[at] for row in rows] for key, at in named.items()} | other
    )


PLAIN = {"gates": [], "latency_ms": 0, "fees": 0, "settings": {"paper.slippage_bps": 0}}


def run(data: Any, strategy: Any = None, **more: Any) -> Any:
    return library.backtest(Swing() if strategy is None else strategy, data, symbol="X", **{**PLAIN, **more})


# -- the same as the command ------------------------------------------------------------------------------------------


@pytest.mark.behaviour("L1")
@pytest.mark.parametrize("strategy", ["sma", SmaCross()])
def test_a_program_and_the_command_write_the_same_rows(lab: Any, strategy: Any) -> None:
    lab("backtest", "btcusd-1m", "--symbol", "BTCUSD", "--set", "sma.fast=5")
    named = strategy if isinstance(strategy, str) else attrs.evolve(strategy, fast=5)
    settings = {"sma.fast": 5} if isinstance(strategy, str) else None
    made = library.backtest(named, "btcusd-1m", symbol="BTCUSD", settings=settings, state_dir=lab.folder / "other")
    assert made.directory is not None
    with contextlib.closing(JournalReader.open(made.directory)) as reader:
        rows = [row[:6] for row in reader.rows() if row[3] != "run_ended"]
    assert rows == [row[:6] for row in lab.run().raw() if row[3] != "run_ended"]
    assert made.report.fills > 0


@pytest.mark.behaviour("L1")
def test_a_run_leaves_no_file_unless_it_is_asked_to(lab: Any) -> None:
    library.backtest("sma", "btcusd-1m", symbol="BTCUSD")
    assert lab.files() == []


# -- what it returns --------------------------------------------------------------------------------------------------


def test_a_round_trip_has_the_figures_one_reckons_by_hand() -> None:
    """Bought at the second open, 1000, sold at the third, 1010; fees of 1 % of each, no slippage."""
    result = run(candles(), fees=(0, "0.01"))
    first = result.trades[0]
    assert (first.side, first.entry_price, first.exit_price) == ("long", Decimal(1000), Decimal(1010))
    assert (first.fees, first.profit) == (Decimal("20.1"), Decimal("-10.1"))
    assert (first.entry_ns, first.held_ns) == (BEGIN + MINUTE, MINUTE)
    assert [one.price for one in result.fills[:2]] == [Decimal(1000), Decimal(1010)]
    order = result.orders[0]
    assert (order.outcome, order.filled, order.average_price) == ("filled", Decimal(1), Decimal(1000))
    # After the second candle, which closes at 1010: 10000 − 1000 − 10 + 1010.
    assert [row.equity for row in result.equity[:2]] == [10_000.0, 10_000.0]
    assert result.equity[-1].equity == float(result.report.ending_equity)
    assert len(result.equity) == len(CLOSES)
    fees_of_what_is_open = sum((one.fee for one in result.fills[2 * len(result.trades) :]), Decimal(0))
    [book] = result.report.books.values()
    open_profit = sum((one.quantity * one.mark - one.cost for one in book.positions.values()), Decimal(0))
    closed = sum((one.profit for one in result.trades), Decimal(0))
    assert closed + open_profit - fees_of_what_is_open == result.report.pnl_absolute


def test_equity_falls_from_its_highest_point_by_what_the_drawdown_says() -> None:
    peak = 0.0
    for row in run(candles()).equity:
        peak = max(peak, row.equity)
        assert row.drawdown == row.equity / peak - 1


@pytest.mark.behaviour("L2")
def test_tables_become_columns_of_one_length_with_times_in_utc() -> None:
    result = run(candles())
    found = result.trades.columns()
    assert found["entry"][0] == datetime(2020, 1, 1, 0, 1, tzinfo=UTC)
    assert found["held"][0].total_seconds() == 60
    assert isinstance(found["profit"][0], float)
    assert {len(column) for column in found.values()} == {len(result.trades)}
    assert result.trades.columns(exact=True)["profit"][0] == result.trades[0].profit
    assert result.trades[1:][0] == result.trades[1]
    assert run(candles(), no_orders=True).fills.columns()["price"] == []


@pytest.mark.behaviour("L2")
def test_a_result_outlives_being_pickled_without_its_prices(tmp_path: Path) -> None:
    result = run(candles())
    again = pickle.loads(pickle.dumps(result))
    for name in ("fills", "orders", "trades", "equity"):
        assert getattr(again, name) == getattr(result, name)
        assert len(getattr(again, name)) > 0
    assert again.report == result.report
    with pytest.raises(library.ConfigError, match="give prices="):
        again.plot(tmp_path / "page.html")
    page = again.plot(tmp_path / "page.html", prices=library.load(candles(), symbol="X"))
    assert page.read_bytes() == result.plot(tmp_path / "first.html").read_bytes()
    assert "10 candles of X" in page.read_text(encoding="utf-8")


def test_a_strategy_that_raises_fails_its_run_and_says_so_in_the_report(capsys: Any) -> None:
    class Broken(Swing):
        def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
            raise KeyError("missing")

    result = run(candles(), define(kw_only=True)(Broken)())
    assert (result.report.status, result.report.error) == ("failed", "every strategy has failed")
    assert "KeyError: 'missing'" in capsys.readouterr().err


# -- many runs --------------------------------------------------------------------------------------------------------


def test_every_run_begins_with_a_new_strategy_of_the_same_settings() -> None:
    strategy = Swing(size=Decimal(2))
    first, second = run(candles(), strategy), run(candles(), strategy)
    assert (first.fills, strategy.seen) == (second.fills, 0)
    assert first.fills[0].quantity == Decimal(2)


def test_prices_are_read_once_and_runs_over_them_do_not_fill_the_memory() -> None:
    prices = library.load("btcusd-1m", symbol="BTCUSD")
    assert prices.rows == 1440

    def trials(count: int) -> None:
        for _ in range(count):
            library.backtest("sma", prices)

    trials(120)  # as many as it takes until garbage is as high as it ever is
    gc.collect()
    before = _resident()
    trials(150)
    gc.collect()
    assert _resident() - before < 150 * LEAK


def _resident() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system has no /proc to read the memory from")
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    def state() -> tuple[object, ...]:
        handlers = tuple(signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM))
        return gc.get_threshold(), gc.isenabled(), gc.get_freeze_count(), handlers, sys.getswitchinterval()

    with decimal.localcontext() as context:
        context.prec = 7
        before, text = state(), repr(context)
        yield
        assert (state(), repr(decimal.getcontext())) == (before, text)


@pytest.mark.behaviour("L1")
def test_the_process_is_as_it_was_afterwards() -> None:
    with unchanged():
        run(candles())


@pytest.mark.behaviour("L1")
def test_it_works_where_an_event_loop_is_running(tmp_path: Path) -> None:
    async def cell() -> Any:
        result = run(candles())
        return result.plot(tmp_path / "page.html")

    with unchanged():
        assert asyncio.run(cell()).is_file()


def test_several_strategies_have_the_names_they_are_given() -> None:
    result = run(candles(), {"small": Swing(), "large": Swing(size=Decimal(3))})
    assert {one.strategy: one.quantity for one in result.fills} == {"small": Decimal(1), "large": Decimal(3)}


@pytest.mark.behaviour("L1")
def test_two_classes_of_one_name_are_two_classes() -> None:
    def made(side: Side) -> Any:
        @define(kw_only=True)
        class Once(Strategy):
            def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
                return [] if view.position(candle.symbol).quantity else [OrderRequest(candle.symbol, side, Decimal(1))]

        return Once()

    result = run(candles(), {"a": made(Side.BUY), "b": made(Side.SELL)})
    assert {(one.strategy, one.side) for one in result.fills} == {("a", "buy"), ("b", "sell")}


@pytest.fixture
def as_in_a_program() -> Iterator[None]:
    """Answer Ctrl-C as Python does: a command that a test ran before in this process may answer it still."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent there")
@pytest.mark.usefixtures("as_in_a_program")
def test_ctrl_c_ends_a_run_and_is_not_taken_for_a_fault_of_the_strategy(capsys: Any) -> None:
    @define(kw_only=True)
    class Impatient(Swing):
        def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
            self.seen += 1
            if self.seen == 3:
                signal.raise_signal(signal.SIGINT)
            return []

    with unchanged(), pytest.raises(KeyboardInterrupt):
        run(candles(), Impatient())
    assert "Traceback" not in capsys.readouterr().err


# -- what prices come in ----------------------------------------------------------------------------------------------


def frames() -> Iterator[Any]:
    times = [datetime.fromtimestamp((BEGIN + n * MINUTE) / 1e9, UTC) for n in range(len(CLOSES))]
    yield pytest.param(columns, id="columns of nanoseconds")
    yield pytest.param(lambda: columns(time=[one.timestamp() for one in times]), id="columns of seconds")
    yield pytest.param(lambda: columns(time=[one.isoformat() for one in times]), id="columns of text")
    yield pytest.param(lambda: columns(time=[one.replace(tzinfo=None) for one in times]), id="naive datetimes")
    yield pytest.param(lambda: iter(candles()), id="an iterator of candles")
    yield pytest.param(lambda: pandas().DataFrame(columns(time=times)), id="pandas, a column")
    yield pytest.param(lambda: pandas().DataFrame(columns(time=times)).set_index("time"), id="pandas, its index")
    yield pytest.param(
        lambda: pandas().DataFrame(columns(time=times)).rename(columns=str.title).set_index("Time"), id="pandas, titles"
    )
    yield pytest.param(lambda: [[row.open_ns, *map(str, row[3:8]), "more"] for row in candles()], id="rows of texts")
    yield pytest.param(lambda: pandas().DataFrame([[row.open_ns, *row[3:8]] for row in candles()]), id="no header")
    yield pytest.param(lambda: pyarrow().table(columns()), id="pyarrow")
    yield pytest.param(lambda: polars().DataFrame(columns(time=times)), id="polars")


def pandas() -> Any:
    return pytest.importorskip("pandas")


def pyarrow() -> Any:
    return pytest.importorskip("pyarrow")


def polars() -> Any:
    return pytest.importorskip("polars")


@pytest.mark.behaviour("L1")
@pytest.mark.parametrize("data", list(frames()))
def test_prices_in_memory_give_the_same_fills_whatever_they_come_in(data: Any) -> None:
    assert run(data()).fills == run(candles()).fills
    assert library.load(data(), symbol="X").interval == "1m"


def test_days_of_an_exchange_and_hours_from_half_past_are_read_as_they_are_in_a_file() -> None:
    days = pandas().date_range("2024-03-01", periods=20, tz="America/New_York")  # over the change to summer time
    rows = {key: [1000.5 + n for n in range(20)] for key in ("open", "high", "low", "close")}
    daily = library.load(pandas().DataFrame(rows, index=days), symbol="X")
    assert [one.open_ns % (24 * 60 * MINUTE) for one in daily.candles()] == [0] * 20
    hours = pandas().date_range("2024-03-01 09:30", periods=20, freq="h", tz="America/New_York")
    assert library.load(pandas().DataFrame(rows, index=hours), symbol="X").interval == "1h"


def test_a_frame_that_is_not_computed_yet_is_said_to_be() -> None:
    with pytest.raises(library.ConfigError, match=r"give frame\.collect\(\)"):
        library.load(polars().DataFrame(columns()).lazy(), symbol="X")


def test_prices_in_memory_have_the_steps_that_their_decimals_show() -> None:
    instrument = library.load(columns(), symbol="X").instruments["X"]
    assert (instrument.tick, instrument.lot) == (Decimal("0.1"), Decimal("0.0001"))


@pytest.mark.behaviour("L1")
def test_several_symbols_come_as_a_mapping_of_whatever_one_comes_in(tmp_path: Path) -> None:
    rows = [f"{row.open_ns},{','.join(map(str, row[3:8]))}" for row in candles()]
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("\n".join(["time,open,high,low,close,volume", *rows]) + "\n", encoding="utf-8")
    of_files = library.load({"A": tmp_path / "a.csv", "B": str(tmp_path / "b.csv")})
    in_memory = library.load({"A": columns(), "B": candles()})
    for prices in (of_files, in_memory):
        assert (prices.symbol, prices.rows, set(prices.instruments)) == ("A,B", 2 * len(CLOSES), {"A", "B"})
    first, second = (library.backtest(Each(), prices, **PLAIN) for prices in (of_files, in_memory))
    assert first.fills == second.fills
    assert {one.symbol for one in first.trades} == {"A", "B"}
    assert len(first.equity) == len(CLOSES)
    assert first.equity[-1].equity == float(first.report.ending_equity)


def test_longer_candles_are_made_of_those_that_are_there() -> None:
    longer = library.load(columns(), symbol="X", interval="5m")
    assert [(one.open, one.close) for one in longer.candles()] == [(1000.0, 995.0), (995.0, 1040.0)]


BAD = [
    (columns(time=["x"] * 10), "row 0: not a time: 'x'"),
    (columns(close=[float("nan"), *CLOSES[1:]]), "row 0: close is nan; drop such rows"),
    (columns(close=["a", *CLOSES[1:]]), "row 0: close is str 'a'; expected a number"),
    (columns(volume=[float("nan")] * 10), "row 0: volume is nan; leave the column out"),
    (columns(symbol=["A", "B"] * 5), "several symbols (A, B) in the column symbol; give each its own"),
    (columns(close=CLOSES[1:]), "not of one length: time 10, open 10, high 10, low 10, close 9"),
    (columns(high=[1.0] * 10), "row 0: "),
    (columns(time=list(reversed(columns()["time"]))), "at 2020-01-01T00:08:00Z, before the row above it: sort by time"),
    (columns(time=[BEGIN] * 10), "again: keep one of them; times must ascend, each once"),
    (columns(time=[BEGIN + n * MINUTE + (n == 4) for n in range(10)]), "row 4 opens at"),
    ({"open": [1.0]}, "the columns: no column of times"),
    ({"time": [BEGIN], "open": [1.0]}, "no column high; it has time, open"),
    ({key: [] for key in columns()}, "holds no candle"),
    ({key: value[:1] for key, value in columns().items()}, "one candle only"),
    (columns(time=[BEGIN + n * 57_600 * MINUTE for n in range(10)]), "its data has candles of 3456000000000000 ns"),
    ([1, 2], "number 0 is int 1; expected lab.Candle, or [time, open, high, low, close, volume]"),
    (17, "data is int 17; expected a path"),
    ("no-such-file.csv", "no-such-file.csv"),
    ({"A": columns(), "B": columns()}, "the data names its symbols already; leave symbol out"),
    (Swing(), "data is Swing"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "said"), BAD)
def test_prices_that_cannot_be_used_are_refused_in_a_line_that_says_why(data: Any, said: str) -> None:
    with pytest.raises(library.LabError) as raised:
        run(data)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strategy": Swing}, "Swing is a class; give Swing()"),
        ({"strategy": "smaa"}, "did you mean 'sma'"),
        ({"strategy": 5}, "5 is no strategy"),
        ({"strategy": []}, "no strategy chosen"),
        ({"strategy": {"A b": Swing()}}, "'A b' is no name for a strategy"),
        ({"strategy": [Swing(), Swing()]}, "two components of this run are named 'swing'"),
        ({"gates": ["nope"]}, "no risk gate named 'nope'"),
        ({"gates": [SmaCross()]}, "is no risk gate"),
        ({"equity": -1}, "'equity' must be > 0"),
        ({"strategy": "sma", "settings": {"sma.fas": 1}}, "sma has no setting 'fas'; did you mean 'fast'"),
        ({"settings": {"sma.fast": 1}}, "sma.fast: this run has no component of that name"),
        ({"settings": {"fast": 1}}, "expected component.key"),
        ({"settings": {"swing.size": 2}}, "swing is an instance, which has its settings; give Swing(size=…)"),
        ({"settings": {"run.symbol": "Y"}}, "run.symbol: give it as symbol="),
        ({"fees": (1, 2, 3)}, "expected one fraction, or (maker, taker)"),
        ({"latency_ms": -1}, "'latency_ms' must be >= 0"),
        ({"interval": "5"}, "not an interval"),
    ],
)
def test_what_cannot_be_put_together_is_refused_in_a_line_that_says_why(given: dict[str, Any], said: str) -> None:
    with pytest.raises(library.LabError) as raised:
        run(candles(), **given)
    assert said in str(raised.value)


def test_what_is_decided_when_prices_are_loaded_is_refused_later() -> None:
    prices = library.load(candles(), symbol="X")
    for given in ({"symbol": "Y"}, {"interval": "5m"}, {"settings": {"replay.tick": 1}}):
        with pytest.raises(library.ConfigError, match=r"lab\.load"):
            library.backtest(Swing(), prices, **given)
