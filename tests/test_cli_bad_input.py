"""What a user gets wrong is answered with one line that names it, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest

# The live venue, at addresses where nobody listens: whatever fails to refuse leaves this machine alone.
NOWHERE = ["run", "--provider", "bitunix", "--set", "bitunix.rest_url=http://127.0.0.1:9", "--set",
           "bitunix.ws_url=ws://127.0.0.1:9", "--minutes", "0.1"]  # fmt: skip
RUN = ["run", "--provider", "mock", "--speed", "max", "--minutes", "1"]


@pytest.mark.behaviour("S5", "P3")
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["run", "--provider", "mokc"], 64, ["provider", "'mokc'", "did you mean 'mock'?"]),
        ([*RUN, "--strategy", "smaa"], 64, ["strategy", "'smaa'", "did you mean 'sma'?"]),
        ([*RUN, "--gate", "margn"], 64, ["risk gate", "'margn'", "did you mean 'margin'?"]),
        ([*RUN, "--broker", "papr"], 64, ["broker", "'papr'", "did you mean 'paper'?"]),
        ([*RUN, "--reporter", "htlm"], 64, ["reporter", "'htlm'", "did you mean 'html'?"]),
        (["rnu"], 64, ["'rnu'", "did you mean 'run'?"]),
        (["run", "--minuets", "3"], 64, ["--minuets", "--minutes"]),
        (["run", "extra"], 64, ["extra"]),
        (["plugins", "moc"], 64, ["'moc'", "did you mean 'mock'?"]),
        (["backtest", "x.csv", "--provider", "mock"], 64, ["'x.csv'", "mock"]),
        (["backtest"], 64, ["SOURCE", "btcusd-1m"]),
        (["backtest", "--strategy", "sma"], 64, ["SOURCE", "btcusd-1m"]),
        (["backtest", "btcusd-1m", "--set", "sma.fast", "4"], 64, ["--set sma.fast:", "NAME.KEY=VALUE in one word"]),
        (["backtest", "--set", "sma.fast", "4"], 64, ["--set sma.fast:", "NAME.KEY=VALUE in one word"]),
        (["backtest", "btcusd-1m", "--minutes", "5"], 64, ["--minutes", "`lab run`", "all of its data"]),
        (["backtest", "btcusd-1m", "--speed", "5"], 64, ["--speed", "`lab run`"]),
        (["completion"], 64, ["bash", "zsh", "fish"]),
        ([*RUN, "--symbol", "A", "--symbol", "A"], 78, ["symbol", "A"]),
        ([*RUN, "--interval", "1m", "--interval", "5m"], 64, ["--interval", "2 times", "keep one"]),
        ([*RUN, "--minutes", "3"], 64, ["--minutes", "2 times"]),
        (["backtest", "x.csv", "--interval", "1m", "--interval=5m"], 64, ["--interval", "2 times"]),
        (["bitunix-venue", "--port", "1", "--port", "2"], 64, ["--port", "2 times"]),
        ([*RUN, "--set", "sma.fast=1", "--set", "sma.fast=2"], 64, ["sma.fast=1", "sma.fast=2", "keep one"]),
        ([*RUN, "--config", ""], 64, ["--config", "is empty"]),
        (["runs", "--state-dir", ""], 64, ["--state-dir", "is empty"]),
        ([*RUN, "--strategy", "=sma"], 78, ["'=sma'", "NAME", "ALIAS=NAME"]),
        ([*RUN, "--strategy", "two="], 78, ["'two='", "ALIAS=NAME"]),
        ([*RUN, "--start-timeout", "-1"], 78, ["--start-timeout", "-1"]),
        ([*RUN, "--set", "sma.fsat=5"], 78, ["--set", "'fsat'", "did you mean 'fast'?"]),
        ([*RUN, "--set", "sam.fast=5"], 78, ["--set", "'sam'", "did you mean 'sma'?"]),
        ([*RUN, "--set", "run.minuets=5"], 78, ["--set", "'minuets'", "did you mean 'minutes'?"]),
        ([*RUN, "--set", "fast=5"], 78, ["--set fast=5", "name.key=value"]),
        ([*RUN, "--set", "sma.fast=abc"], 78, ["--set", "sma.fast", "'abc'", "whole number"]),
        ([*RUN, "--set", "sma.fast=-1"], 78, ["--set", "fast", "-1"]),
        ([*RUN, "--set", "sma.fast=40"], 78, ["--set", "fast", "40", "slow"]),
        ([*RUN, "--set", "max_daily_loss.usd=1e999"], 78, ["max_daily_loss.usd", "'1e999'", "from 1e-40 to 1e40"]),
        ([*RUN, "--set", "sma.risk_percent=1e-999999"], 78, ["sma.risk_percent", "from 1e-40 to 1e40"]),
        ([*RUN, "--set", f"margin.fraction=0.{'1' * 200}"], 78, ["margin.fraction", "in at most 100 characters"]),
        ([*RUN, "--set", "sma.direction=up"], 78, ["sma.direction", "'up'", "both | long | short"]),
        ([*RUN, "--set", "mock.begin=yesterday"], 78, ["begin", "'yesterday'"]),
        ([*RUN, "--symbol", "b@d"], 78, ["symbol", "b@d"]),
        ([*RUN, "--symbol", "btcusdt"], 78, ["'btcusdt'", "BTCUSDT"]),
        ([*RUN, "--interval", "7x"], 78, ["--interval", "'7x'", "1m"]),
        ([*RUN, "--seed", "x"], 78, ["--seed", "'x'", "whole number"]),
        ([*RUN, "--equity", "nan"], 78, ["--equity", "'nan'"]),
        ([*RUN, "--equity", "0"], 78, ["--equity", "0"]),
        ([*RUN, "--leverage", "0.5"], 78, ["--leverage", "0.5"]),
        ([*RUN, "--latency-ms", "-5"], 78, ["--latency-ms", "-5"]),
        ([*RUN, "--set", "paper.cancel_latency_ms=-1"], 78, ["--set", "cancel_latency_ms", "-1"]),
        ([*RUN, "--set", "paper.feed_ms=soon"], 78, ["paper.feed_ms", "'soon'", "whole number"]),
        ([*RUN, "--set", "paper.stale_ms=0"], 78, ["--set", "stale_ms", "0"]),
        ([*RUN, "--set", "paper.liquidity=infinite"], 78, ["paper.liquidity", "'infinite'", "displayed | unlimited"]),
        ([*RUN, "--set", "paper.fills=lucky"], 78, ["paper.fills", "'lucky'", "pessimistic | expected | optimistic"]),
        ([*RUN, "--set", "paper.candle_share=0"], 78, ["--set", "candle_share", "0"]),
        ([*RUN, "--set", "paper.candle_share=1.1"], 78, ["--set", "candle_share", "1.1"]),
        ([*RUN, "--set", "paper.latency_model=slow"], 78, ["latency_model", "'slow'", "module:Class"]),
        ([*RUN, "--set", "paper.fee_model=nowhere:Fees"], 78, ["fee_model", "nowhere"]),
        ([*RUN, "--set", "paper.queue_model=decimal:Nothing"], 78, ["queue_model", "Nothing"]),
        ([*RUN, "--set", "paper.reject_model=decimal:Decimal"], 78, ["reject_model", "reason"]),
        (
            [*RUN, "--set", "paper.funding_model=lab_paper_broker.models:FixedFunding(each=False)"], 78,
            ["funding_model", "each is False"],
        ),
        (["run", "--provider", "mock", "--minutes", "0"], 78, ["--minutes", "0"]),
        (["run", "--provider", "mock", "--speed", "fast"], 78, ["--speed", "'fast'", "max"]),
        (["run", "--provider", "bitunix", "--speed", "60"], 78, ["speed", "bitunix"]),
        ([*NOWHERE, "--speed", "max"], 78, ["speed", "bitunix"]),
        ([*RUN, "--strategy", "sma", "--strategy", "sma"], 78, ["'sma'", "--strategy other=sma"]),
        ([*RUN, "--config", "none.toml"], 78, ["none.toml", "no such file"]),
        (["backtest", "none.csv"], 78, ["none.csv", "no such file"]),
        (["backtest", "btcusd-1x"], 78, ["btcusd-1x", "'btcusd-1m'"]),
        (["report", "nosuch"], 78, ["'nosuch'", "lab runs"]),
        (["verify", "nosuch"], 78, ["'nosuch'", "lab runs"]),
        (["replay", "nosuch"], 78, ["'nosuch'", "lab runs"]),
    ],
    ids=lambda value: " ".join(value[:1] + value[-2:]) if isinstance(value, list) and len(value) > 2 else None,
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_it_and_the_cure_and_nothing_is_written(
    lab: Any, one_line: Any, args: list[str], code: int, words: list[str]
) -> None:
    one_line(lab(*args), code, *words)
    assert lab.files() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sma]\nfsat = 5\n", ["lab.toml", "'fsat'", "did you mean 'fast'?"]),
        ("[sam]\nfast = 5\n", ["lab.toml", "'sam'", "did you mean 'sma'?"]),
        ("[run]\nequity = 'ten'\n", ["lab.toml", "run.equity", "'ten'"]),
        ("[sma]\nfast = [1]\n", ["lab.toml", "sma.fast", "whole number"]),
        ("[sma]\nfast = 5.5\n", ["lab.toml", "sma.fast = 5.5: expected whole number"]),
        ("[sma]\nrisk_percent = true\n", ["lab.toml", "sma.risk_percent = true: expected decimal"]),
        ("[run]\nequity = inf\n", ["lab.toml", "run.equity = Infinity: expected a finite decimal"]),
        ("minutes = 5\n", ["lab.toml", "minutes", "[run]"]),
        ("sma = 3\n", ["lab.toml", "sma = 3 stands outside a table", "settings of a component sma stand under [sma]"]),
        (
            '[run]\ngates = ["none"]\n',
            ["lab.toml", "run: gates = ['none']: expected names; gates = [] stands for none"],
        ),
        ('[run]\nreporters = ["html", "none"]\n', ["lab.toml", "reporters = [] stands for none"]),
        ("[sma\nfast = 5\n", ["lab.toml", "not TOML", "line 1"]),
        ("[run]\nsymbol = 7\n", ["lab.toml", "run.symbol", "7", "text"]),
        ("[run]\nequity = 1e-400\n", ["lab.toml", "run.equity", "1E-400", "from 1e-40 to 1e40"]),
        (f"[run]\nequity = 10000.{'0' * 40}1\n", ["lab.toml", "run: equity", "18 decimals"]),
        ('[run]\nstate_dir = "a\\u0000"\n', ["lab.toml", "state_dir", "a folder"]),
        (f"[run]\nseed = {'9' * 5_000}\n", ["lab.toml", "cannot be read", "4300"]),
        (f"[run]\nsets = {'[' * 100_000}\n", ["lab.toml", "nested too deep"]),
        (f"# {'x' * 1_000_000}", ["lab.toml", "longer than 1,000,000 bytes"]),
        (f"[paper]\ntaker_fee = 0.0006{'0' * 40}1\n", ["lab.toml", "paper: taker_fee", "18 decimals"]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_wrong_configuration_file_is_named_with_key_and_value(
    lab: Any, one_line: Any, text: str, words: list[str]
) -> None:
    (lab.folder / "lab.toml").write_text(text, encoding="utf-8")
    one_line(lab.mock("--config", "lab.toml"), 78, *words)
    assert lab.files() == ["lab.toml"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LAB_SMA_FSAT", "5", ["LAB_SMA_FSAT", "'fsat'", "did you mean 'fast'?"]),
        ("LAB_SMA_FAST", "x", ["LAB_SMA_FAST", "'x'", "whole number"]),
        ("LAB_RUN_MINUETS", "5", ["LAB_RUN_MINUETS", "'minuets'", "did you mean 'minutes'?"]),
        ("LAB_MAX_DAILY_LOSS_USD", "much", ["LAB_MAX_DAILY_LOSS_USD", "'much'", "decimal"]),
    ],
)
def test_a_wrong_environment_variable_is_named(
    lab: Any, one_line: Any, name: str, value: str, words: list[str]
) -> None:
    one_line(lab.mock(env={name: value}), 78, *words)
    assert lab.files() == []


def test_a_variable_of_no_component_is_said_and_stops_nothing(lab: Any) -> None:
    result = lab.mock("--reporter", "none", "--no-write", env={"LAB_SMAA_FAST": "5"}, minutes=1)
    assert result.code == 0
    assert result.err.splitlines() == [
        "lab: the environment variable LAB_SMAA_FAST matches no setting of this run; ignored"
    ]


def test_the_variables_that_choose_how_lab_runs_are_no_settings(lab: Any) -> None:
    chosen = {"LAB_COMPILED": "0", "LAB_UVLOOP": "0"}
    result = lab.mock("--reporter", "none", "--no-write", env=chosen, minutes=1)
    assert (result.code, result.err) == (0, "")


def test_the_real_process_says_the_same_and_shows_no_traceback(lab: Any, one_line: Any) -> None:
    one_line(lab.process("run", "--provider", "mokc"), 64, "did you mean 'mock'?")
    assert lab.files() == []


def test_a_state_directory_that_cannot_be_made_is_a_storage_problem(lab: Any, one_line: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    one_line(lab.mock("--state-dir", str(tmp_path / "file" / "below")), 74, "file/below", "--state-dir")


def test_a_state_directory_is_where_the_run_goes_and_where_it_is_found(lab: Any, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    assert lab.mock("--state-dir", str(place), "--reporter", "none", minutes=1).code == 0
    assert lab.files() == []
    assert (place / "runs" / "latest" / "final_report.json").is_file()
    assert lab("report", "--state-dir", str(place), "--json").json()["exit_code"] == 0
    assert lab("verify", env={"LAB_RUN_STATE_DIR": str(place)}).code == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["prices.csv"]),
        ("time,open,high,low,close,volume\n", ["prices.csv"]),
        ("time,open,high,low,close,volume\n2024-01-01,1,2\n", ["prices.csv", "2"]),
        ("time,open,high,low,close,volume\nyesterday,1,2,1,1,1\n", ["prices.csv", "2", "yesterday"]),
        ("time;open;high;low;close\n2024-01-01;1;2;1;1\n", ["prices.csv", "one candle only", "replay.interval"]),
        ("time\topen\thigh\tlow\n2024-01-01\t1\t2\t1\n", ["prices.csv:1", "no column close", "the header has time"]),
    ],
    ids=["empty", "header only", "short row", "no time", "one candle", "no close"],
)
def test_a_bad_file_of_prices_is_named_before_anything_starts(
    lab: Any, one_line: Any, content: str, words: list[str]
) -> None:
    (lab.folder / "prices.csv").write_text(content, encoding="utf-8")
    one_line(lab("backtest", "prices.csv"), 78, *words)
    assert lab.files() == ["prices.csv"]


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "/" + "x" * 5000, "a/" * 3000 + "b.csv"])
def test_a_file_name_that_no_system_takes_is_named_as_one(lab: Any, one_line: Any, name: str) -> None:
    one_line(lab("backtest", name), 78, "replay: ", "File name too long")
    assert lab.files() == []


def test_a_symbol_that_a_recorded_run_does_not_hold_is_named_with_those_it_does(lab: Any, one_line: Any) -> None:
    assert lab.mock("--reporter", "none", minutes=2).code == 0
    result = lab(
        "run", "--provider", "replay", "--set", "replay.run=runs/latest", "--symbol", "ETHUSDT", "--speed", "max"
    )
    one_line(result, 78, "holds no ETHUSDT", "it has BTCUSDT")


def test_a_setting_of_a_component_that_takes_no_part_in_the_run_is_said_to_be_ignored(lab: Any) -> None:
    settings = ("--set", "mock.sed=3", "--set", "sma.fast=5")
    result = lab("backtest", "btcusd-1m", *settings, "--reporter", "none")
    assert (result.code, result.err) == (0, "lab: --set mock.sed: this run has no component mock; ignored\n")


HASTY = """
from attrs import define, field
from decimal import Decimal
from lab import OrderRequest, OrderType, Strategy, hookimpl
from lab.domain.orders import AmendRequest

@define(kw_only=True)
class Hasty(Strategy):
    how: str = field(default="", metadata={"help": "what it gets wrong"})

    def on_candle(self, candle, view):
        buy, one = OrderRequest.buy, Decimal(1)
        ids = [order.id for order in view.orders()]
        if ids:
            return [AmendRequest(ids[0], quantity=1.5 if self.how == "float" else one)]
        if self.how == "bracket":
            return [buy(candle.symbol, one, stop_loss=Decimal(10**9))]
        return [buy(candle.symbol, one, type=OrderType.LIMIT, limit=one, group="a/b" if self.how == "group" else "")]

@hookimpl
def lab_strategies():
    return {"hasty": Hasty}
"""


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("float", 'AmendRequest.quantity is 1.5; expected a finite Decimal: say Decimal("1.5"), or'),
        ("group", "OrderRequest.group is 'a/b'; expected 1 to 32 letters, digits or _ . : + -"),
    ],
)
def test_a_strategy_that_asks_for_what_is_no_order_is_stopped_and_the_field_is_named(
    lab: Any, site: Any, how: str, words: str
) -> None:
    site.install("their_hasty", HASTY)
    lab.mock("--strategy", "hasty", "--set", f"hasty.how={how}", "--gate", "none", "--reporter", "none", minutes=3)
    [(_, _, stopped)] = lab.run().rows("strategy_stopped")
    assert words in stopped["error"]
    assert [body["outcome"] for _, _, body in lab.run().rows("order_ended")] == ["cancelled"] * (how == "float")


@pytest.mark.behaviour("R6")
@pytest.mark.parametrize(
    ("how", "kind", "reason"),
    [
        ("bracket", "order_refused", "the stop_loss of a buy lies below its price, and above 0"),
        ("", "amend_refused", "nothing would change"),
    ],
)
def test_what_the_rules_forbid_is_refused_with_its_reason_and_counted_in_the_report(
    lab: Any, site: Any, how: str, kind: str, reason: str
) -> None:
    site.install("their_hasty", HASTY)
    run = ("--strategy", "hasty", "--set", f"hasty.how={how}", "--gate", "none", "--reporter", "none")
    assert lab.mock(*run, minutes=4).code == 0
    refused = lab.run().rows(kind)
    assert {(body["by"], body["reason"]) for _, _, body in refused} == {("engine", reason)}
    assert lab.run().report()["refusals"] == len(refused) > 0
    assert lab("audit").code == 0
