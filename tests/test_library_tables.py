"""Tables as frames: a column has its type whether there are rows or not."""

import sys
from decimal import Decimal
from typing import Any

import lab as library
import pytest
from attrs import define, field
from lab import Candle, OrderRequest, Side, Strategy, View
from lab.errors import ConfigError
from sweeping import BEGIN, MINUTE, PLAIN, columns


@define(kw_only=True)
class Swing(Strategy):
    """Holds one coin from every second candle to the next."""

    seen: int = field(init=False, default=0)

    def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
        self.seen += 1
        return [OrderRequest(candle.symbol, Side.BUY if self.seen % 2 else Side.SELL, Decimal(1))]


NAMES = ("trades", "fills", "orders", "equity", "prices")


@pytest.fixture(scope="module")
def traded() -> library.Result:
    return library.backtest(Swing(), columns(20), **PLAIN)


@pytest.fixture(scope="module")
def idle() -> library.Result:
    return library.backtest(Swing(), columns(20), no_orders=True, **PLAIN)


def of_pandas(table: Any) -> dict[str, str]:
    pytest.importorskip("pandas")
    return {name: str(kind) for name, kind in table.to_pandas().dtypes.items()}


def of_polars(table: Any) -> dict[str, str]:
    pytest.importorskip("polars")
    return {name: str(kind) for name, kind in table.to_polars().schema.items()}


def of_arrow(table: Any) -> dict[str, str]:
    pytest.importorskip("pyarrow")
    return {one.name: str(one.type) for one in table.to_arrow().schema}


READERS = [of_pandas, of_polars, of_arrow]


@pytest.mark.behaviour("L2")
@pytest.mark.parametrize("types", READERS)
@pytest.mark.parametrize("name", NAMES)
def test_an_empty_table_has_the_types_of_a_full_one(
    traded: library.Result, idle: library.Result, name: str, types: Any
) -> None:
    full = getattr(traded, name)
    empty = full[:0] if name in ("equity", "prices") else getattr(idle, name)
    assert len(empty) == 0 < len(full)
    assert types(empty) == types(full)
    assert list(types(full)) == list(full.columns())


@pytest.mark.parametrize(
    ("types", "said"),
    [
        (of_pandas, {"entry": "datetime64[us, UTC]", "held": "timedelta64[us]", "profit": "float64", "side": "str"}),
        (of_polars, {"entry": "Datetime(time_unit='us', time_zone='UTC')", "held": "Duration(time_unit='us')",
                     "profit": "Float64", "side": "String"}),
        (of_arrow, {"entry": "timestamp[us, tz=UTC]", "held": "duration[us]", "profit": "double", "side": "string"}),
    ],
)  # fmt: skip
def test_trades_of_a_run_without_trades_are_times_money_and_text(
    idle: library.Result, types: Any, said: dict[str, str]
) -> None:
    found = types(idle.trades)
    assert {key: found[key] for key in said} == said


@pytest.mark.parametrize("types", READERS)
def test_a_price_that_no_order_has_is_a_number_all_the_same(traded: library.Result, types: Any) -> None:
    assert {order.limit for order in traded.orders} == {None}
    assert types(traded.orders)["limit"] == types(traded.orders)["quantity"]


def test_a_frame_has_what_the_columns_have(traded: library.Result) -> None:
    pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    found = traded.trades.columns()
    assert traded.trades.to_polars().to_dict(as_series=False) == found
    assert traded.trades.to_arrow().to_pydict() == found
    pandas = pytest.importorskip("pandas")
    pandas.testing.assert_frame_equal(traded.trades.to_pandas(), pandas.DataFrame(found))


@pytest.mark.parametrize("types", READERS)
def test_windows_and_trials_have_types_too(types: Any) -> None:
    pytest.importorskip("optuna")
    walk = library.walkforward("sma", columns(), {"fast": [2, 3]}, in_sample=80, out_of_sample=40, metric="pnl",
                               **{**PLAIN, "settings": {"sma.slow": 6}})  # fmt: skip
    for table, loose in ((walk.windows, {"settings"}), (walk.sweeps[0].trials, {"fast"}), (walk.equity, set())):
        full, empty = types(table), types(table[:0])
        assert {key for key in full if full[key] != empty[key]} <= loose
    assert walk.windows[0].in_sample_from_ns == BEGIN
    assert walk.equity[0].time_ns == BEGIN + 81 * MINUTE


@pytest.mark.parametrize(
    ("method", "name"), [("to_pandas", "pandas"), ("to_polars", "polars"), ("to_arrow", "pyarrow")]
)
def test_what_is_not_installed_is_named(
    idle: library.Result, method: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"^{name} is not installed: pip install {name}; columns"):
        getattr(idle.trades, method)()


def test_parquet_of_a_run_without_trades_has_the_types_of_one_with_trades(lab: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    lab("backtest", "btcusd-1m", "--symbol", "BTCUSD", "--no-orders")
    assert lab("export", "--format", "parquet").code == 0
    found = {one: parquet.read_table(lab.run().folder / "export" / f"{one}.parquet") for one in ("trades", "orders")}
    kinds = {field.name: str(field.type) for field in found["trades"].schema}
    assert (kinds["entry"], kinds["profit"], kinds["side"]) == ("timestamp[ns, tz=UTC]", "double", "string")
    assert str(found["orders"].schema.field("limit").type) == "double"
    assert found["trades"].num_rows == 0
