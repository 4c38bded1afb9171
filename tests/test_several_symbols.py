"""Several symbols in one run, through the command line: backtests to the last cent, proofs, and what is refused."""

import json
from decimal import Decimal
from typing import Any

import pytest

D = Decimal
BEGIN_S = 1_704_067_200  # 2024-01-01T00:00:00Z
BTC = [100.0, 100.0, 110.0, 110.0, 120.0]
ETH = [10.0, 10.0, 10.0, 8.0, 8.0]
FREE = (
    "--latency-ms", "0", "--set", "paper.slippage_bps=0", "--set", "paper.liquidity=unlimited", "--gate", "none",
    "--set", "paper.taker_fee=0.001", "--set", "replay.tick=0.001",
)  # fmt: skip

ASKING = """
from attrs import define, field
from decimal import Decimal
from lab import OrderRequest, Strategy, hookimpl

@define(kw_only=True)
class Asking(Strategy):
    \"\"\"Buys once a number of coins of each symbol it is shown, and holds; sells where they are below 0.\"\"\"
    symbols: list[str] = field(factory=list, metadata={"help": "its symbols; none: all"})
    coins: Decimal = field(default=Decimal(10), metadata={"help": "coins"})
    _asked: set = field(init=False, factory=set)

    def on_candle(self, candle, view):
        if candle.symbol in self._asked:
            return []
        self._asked.add(candle.symbol)
        ask = OrderRequest.buy if self.coins > 0 else OrderRequest.sell
        return [ask(candle.symbol, abs(self.coins))]

@hookimpl
def lab_strategies():
    return {"asking": Asking}
"""


@pytest.fixture
def asking(site: Any) -> Any:
    site.install("their_asking", ASKING)
    return site


def write(lab: Any, **prices: list[float]) -> None:
    """Write a file of candles for each name, a minute each, all of one price."""
    for name, closes in prices.items():
        lines = [f"{BEGIN_S + 60 * n},{p},{p},{p},{p},10" for n, p in enumerate(closes)]
        (lab.folder / f"{name}.csv").write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n")


def backtest(lab: Any, *options: str, code: int = 0) -> Any:
    write(lab, btc=BTC, eth=ETH)
    result = lab("backtest", "BTCUSDT=btc.csv", "ETHUSDT=eth.csv", *FREE, *options)
    assert result.code == code, result
    return lab.run().report()


def proved(lab: Any) -> None:
    assert "identical" in lab("verify").out
    assert "sound" in lab("audit").out


@pytest.mark.behaviour("S13", "J7")
def test_one_strategy_trades_two_symbols_on_one_account(lab: Any, asking: Any) -> None:
    """10 of each, bought at the second candle's open: 1,000 and 100 with 0.1 % each; then +20 and -2 a coin."""
    report = backtest(lab, "--strategy", "asking", "--reporter", "html", "--set", "html.charts=plain")
    assert (report["symbol"], report["fills"], report["candles"], report["decisions"]) == (
        "BTCUSDT, ETHUSDT",
        2,
        10,
        10,
    )
    assert D(report["fees_paid"]) == D("1.1")
    assert D(report["ending_equity"]) == 10_000 + 200 - 20 - D("1.1")
    of_each = report["statistics"]["by_symbol"]
    assert {symbol: D(one["fees"]) for symbol, one in of_each.items()} == {"BTCUSDT": 1, "ETHUSDT": D("0.1")}
    assert list(report["instruments"]) == ["BTCUSDT", "ETHUSDT"]
    assert report["instruments"]["ETHUSDT"]["base"] == "ETH"
    proved(lab)
    assert "no look-ahead found" in lab("lookahead").out
    page = (lab.run().folder / "summary.html").read_text(encoding="utf-8")
    for words in ("BTCUSDT, ETHUSDT 1m", "BTCUSDT: price and fills", "ETHUSDT: price and fills", "Symbols (2)"):
        assert words in page


@pytest.mark.behaviour("S13")
def test_two_strategies_with_a_symbol_each_have_an_account_each(lab: Any, asking: Any) -> None:
    """10 bitcoin long make 200, 100 ether short 200; the fees are 1 each."""
    report = backtest(
        lab, "--strategy", "one=asking", "--strategy", "two=asking", "--set", "one.symbols=BTCUSDT",
        "--set", "two.symbols=ETHUSDT", "--set", "two.coins=-100",
    )  # fmt: skip
    assert {name: D(book["equity"]) for name, book in report["books"].items()} == {"one": 10_199, "two": 10_199}
    assert report["decisions"] == 10, "each was asked about the candles of its own symbol"
    ids = [body["order_id"] for _, _, body in lab.run().rows("order_accepted")]
    assert [one.split("-", 1)[1] for one in ids] == [
        f"one-BTCUSDT-c{BEGIN_S * 10**9}.BTCUSDT-1", f"two-ETHUSDT-c{BEGIN_S * 10**9}.ETHUSDT-1",
    ]  # fmt: skip
    proved(lab)


@pytest.mark.behaviour("S13", "J7")
def test_cross_margin_of_a_shared_account_is_called_over_both_symbols(lab: Any, asking: Any) -> None:
    """90 bitcoin long at 100 and 1,000 ether long at 10: the fall of ether alone takes bitcoin with it.

    When bitcoin is at 110 and ether at 8, 2,500 have become 1,381, which is far above a maintenance margin of 0.5 % of
    17,900, or 89.50. 1,200 have become 81, which is less.
    """
    both = (
        "--strategy", "one=asking", "--strategy", "two=asking", "--set", "one.symbols=BTCUSDT", "--set",
        "two.symbols=ETHUSDT", "--set", "one.coins=90", "--set", "two.coins=1000", "--account", "shared",
    )  # fmt: skip
    report = backtest(lab, *both, "--equity", "2500")
    assert report["liquidations"] == 0
    assert D(report["ending_equity"]) == 2500 - 19 + 90 * 20 - 1000 * 2
    proved(lab)
    report = backtest(lab, *both, "--equity", "1200", code=2)
    assert report["liquidations"] == 2, "of each book of the account"
    called = [body for _, _, body in lab.run().rows("liquidated")]
    assert [(one["symbol"], D(one["quantity"]), D(one["mark"])) for body in called for one in body["positions"]] == [
        ("BTCUSDT", 90, 110), ("ETHUSDT", 1000, 8),
    ]  # fmt: skip
    assert {D(body["balance"]) for body in called} == {1200 - 19 + 900 - 2000}
    assert {D(body["maintenance"]) for body in called} == {D("0.005") * (9_900 + 8_000)}
    proved(lab)


def test_files_of_different_lengths_are_merged_by_time_and_ties_keep_their_order(lab: Any, asking: Any) -> None:
    write(lab, btc=BTC, eth=ETH[:2])
    assert lab("backtest", "ETHUSDT=eth.csv", "BTCUSDT=btc.csv", *FREE, "--strategy", "asking").code == 0
    placed = [body["symbol"] for _, _, body in lab.run().rows("order_accepted")]
    assert placed == ["ETHUSDT", "BTCUSDT"]
    assert lab.run().report()["candles"] == 7
    proved(lab)


def test_one_source_with_its_symbol_is_the_run_of_that_symbol(lab: Any, asking: Any) -> None:
    write(lab, eth=ETH)
    assert lab("backtest", "eth.csv", "--symbol", "ETHUSDT", *FREE, "--strategy", "asking").code == 0
    rows = lab.run().raw()
    assert lab("backtest", "ETHUSDT=eth.csv", *FREE, "--strategy", "asking").code == 0
    assert [row[5] for row in lab.run().raw()[:-1]] == [row[5] for row in rows[:-1]]
    report = lab.run().report()
    assert (report["symbol"], report["instruments"]) == ("ETHUSDT", {})


def test_a_run_whose_files_were_moved_with_it_is_still_proved(lab: Any, asking: Any, tmp_path: Any) -> None:
    backtest(lab, "--strategy", "asking")
    lab.folder.rename(tmp_path / "elsewhere")
    lab.folder = tmp_path / "elsewhere"
    proved(lab)
    (lab.folder / "eth.csv").write_text((lab.folder / "eth.csv").read_text().replace("8.0", "8.1"))
    result = lab("verify")
    assert result.code != 0
    assert "sha256_ETHUSDT" in result.err


MOCK = ("--provider", "mock")
REFUSED = {
    "a symbol twice": (("run", *MOCK, "--symbol", "ETHUSDT", "--symbol", "ETHUSDT"), "ETHUSDT is given twice"),
    "too many": (
        ("run", *MOCK, *(f"--symbol=A{n}USDT" for n in range(21))),
        "21 symbols; a run takes 20 at most: start a second run",
    ),
    "no symbol": (("run", *MOCK, "--symbol", "BTCUSDT,"), "expected 1 to 32 letters"),
    "a symbol that is none": (("run", *MOCK, "--symbol", "BTCUSDT", "--symbol", "eth"), "no symbol 'eth'"),
    "none of the recorded ones": (
        ("backtest", *MOCK, "--symbol", "BTCUSDT", "--symbol", "eth"), "no symbol 'eth'",
    ),
    "a symbol that a strategy wants": (
        ("run", *MOCK, "--strategy", "asking", "--set", "asking.symbols=ETHUSDT"),
        "asking wants ETHUSDT, and this run has BTCUSDT; add --symbol ETHUSDT",
    ),
    "a source without its symbol": (
        ("backtest", "BTCUSDT=btc.csv", "eth.csv"), "'eth.csv': of several sources each says its symbol",
    ),
    "two sources of one symbol": (("backtest", "A=btc.csv", "A=eth.csv"), "another source is of A already"),
    "its symbol said twice": (
        ("backtest", "BTCUSDT=btc.csv", "ETHUSDT=eth.csv", "--symbol", "BTCUSDT"), "leave one out",
    ),
    "one file for two symbols": (
        ("backtest", "btc.csv", "--symbol", "BTCUSDT", "--symbol", "ETHUSDT"),
        "holds one symbol, wanted are BTCUSDT 1m, ETHUSDT 1m",
    ),
    "a symbol without a file": (
        ("backtest", "--symbol", "A", "--symbol", "B", "--set", "replay.files=A=btc.csv,C=eth.csv"),
        "no file is given for B; replay.files has A, C",
    ),
    "files of several intervals": (
        ("backtest", "BTCUSDT=btc.csv", "ETHUSDT=own3.csv"),
        "the files' intervals differ: btc.csv holds 1m, own3.csv holds 3m; give --interval 3m, or a multiple of it",
    ),
    "an interval that does not fit all files": (
        ("backtest", "BTCUSDT=own2.csv", "ETHUSDT=own3.csv", "--interval", "2m"),
        "own2.csv holds 2m, own3.csv holds 3m; give --interval 6m, or a multiple of it",
    ),
    "a file that is not there": (("backtest", "BTCUSDT=btc.csv", "ETHUSDT=no.csv"), "no.csv"),
}  # fmt: skip


USAGE = ("'eth.csv': of several sources each says its symbol", "another source is of A already", "leave one out")


@pytest.mark.behaviour("S13")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_asked_for_wrongly_is_named_in_one_line(lab: Any, asking: Any, one_line: Any, name: str) -> None:
    write(lab, btc=BTC, eth=ETH)
    for minutes in (2, 3):
        opens = (f"{BEGIN_S + 60 * minutes * place},10,10,10,10,1" for place in range(5))
        (lab.folder / f"own{minutes}.csv").write_text("\n".join(("time,open,high,low,close,volume", *opens)))
    args, words = REFUSED[name]
    files = set(lab.files())
    one_line(lab(*args), 64 if words in USAGE else 78, words)
    assert set(lab.files()) == files


def test_symbols_of_a_strategy_that_are_no_texts_are_refused(lab: Any, site: Any, one_line: Any) -> None:
    code = ASKING.replace("symbols: list[str] = field", "names: list[str] = field").replace(
        "    def on_candle", "    symbols = 'BTCUSDT'\n\n    def on_candle"
    )
    site.install("their_asking", code)
    one_line(
        lab("run", "--provider", "mock", "--strategy", "asking"), 69, "its symbols are 'BTCUSDT'; expected a sequence"
    )


@pytest.mark.behaviour("S13", "J10")
def test_a_session_of_two_symbols_repeats_and_is_compared_with_its_replay(lab: Any, asking: Any) -> None:
    options = ("--symbol", "BTCUSDT", "--symbol", "ETHUSDT", "--strategy", "sma", "--set", "sma.fast=3", "--set")
    assert lab.mock(*options, "sma.slow=6", "--reporter", "html", minutes=40).code == 0
    session = lab.run()
    traded = {body["symbol"] for _, _, body in session.rows("order_filled")}
    assert traded == {"BTCUSDT", "ETHUSDT"}
    assert session.report()["candles"] == 80
    proved(lab)
    assert lab("replay").code == 0
    proved(lab)
    assert ": the same: " in lab("compare", session.folder.name, "latest").out
    assert lab("replay", session.folder.name, "--symbol", "ETHUSDT").code == 0
    assert {body["symbol"] for _, _, body in lab.run().rows("order_filled")} == {"ETHUSDT"}
    again = lab.mock(*options, "sma.slow=6", minutes=40)
    assert again.code == 0
    assert [row[5] for row in lab.run().raw()[:-1]] == [row[5] for row in session.raw()[:-1]]


def test_a_probe_says_of_which_symbol_each_check_is(lab: Any) -> None:
    result = lab("probe", "--provider", "mock", "--symbol", "BTCUSDT", "--symbol", "ETHUSDT", "--json")
    checks = json.dumps(result.json())
    assert "BTCUSDT history" in checks
    assert "ETHUSDT history" in checks
