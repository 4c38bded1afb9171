"""Loading history never blocks a session; its failure never ends one; no order is placed before the warm-up is real."""

from typing import Any

import pytest

FLAKY = '''
"""A provider whose history fails a number of times."""
from attrs import define, field
from lab import Candle, ProviderUnavailable, Quote, hookimpl
from lab_mock.provider import MockProvider

@define(kw_only=True, eq=False)
class Flaky(MockProvider):
    """The mock, with a history that fails at first and a reader that meets rubbish."""
    failures: int = field(default=0, metadata={"help": "calls that fail before one succeeds"})
    rubbish: bool = field(default=False, metadata={"help": "give the sink what no protocol allows"})
    _asked: int = field(init=False, default=0)
    _runtime: object = field(init=False, default=None)

    async def start(self, runtime):
        self._runtime = runtime
        await super().start(runtime)

    async def history(self, symbol, interval_ns, *, end_ns, count):
        self._asked += 1
        if self._asked <= self.failures:
            raise ProviderUnavailable("history: HTTP 503 from example.test")
        return await super().history(symbol, interval_ns, end_ns=end_ns, count=count)

    async def stream(self, wanted, sink):
        if self.rubbish:
            begin = 1704067200 * 10**9
            sink.put(Quote("BTCUSDT", begin, 5.0, 1.0, 4.0, 1.0))
            sink.put(Quote("BTCUSDT", begin, float("nan"), 1.0, 4.0, 1.0))
            sink.put(Quote("OTHER", begin, 4.0, 1.0, 5.0, 1.0))
            sink.put(Candle("BTCUSDT", begin, begin, 1.0, 2.0, 3.0, 9.0, -1.0))
            for sample in (b"\\xff\\xfe\\x00", "</script><script>alert(1)</script>", "[/bold] \\x1b[31m", "{broken"):
                sink.malformed("not JSON: [/red] </script>", sample)
            self._runtime.contacted("example.test")
        await super().stream(wanted, sink)

@hookimpl
def lab_providers():
    return {"flaky": Flaky}
'''


@pytest.fixture
def flaky(trader: Any) -> Any:
    trader.install("their_flaky", FLAKY)
    return trader


def _run(lab: Any, *args: str, minutes: int = 10) -> Any:
    return lab("run", "--provider", "flaky", "--speed", "max", "--minutes", str(minutes), "--strategy", "trader", *args)


@pytest.mark.behaviour("F9")
def test_a_session_starts_un_warmed_keeps_trying_and_orders_only_once_it_is_warm(lab: Any, flaky: Any) -> None:
    result = _run(lab, "--set", "flaky.failures=6", "--set", "trader.need=8")
    assert result.code == 0
    rows = lab.run().rows()
    failed = [body[2] for _, kind, body in rows if kind == "notice" and body[1:3][0] == "warm-up"]
    assert [detail["state"] for detail in failed] == ["failed"] * 6 + ["done"]
    assert [float(detail["retry_seconds"]) for detail in failed[:-1]] == [1, 2, 4, 8, 16, 30]
    assert "example.test" in failed[0]["error"]
    gates = [(number, body[1]) for number, kind, body in rows if kind == "trading_state"]
    assert {"warm-up", "warming 0/8"} <= set(gates[0][1])
    opened = next(number for number, reasons in gates if not reasons)
    done = next(n for n, kind, body in rows if kind == "notice" and body[2].get("state") == "done")
    first_order = next(number for number, kind, _ in rows if kind == "order_accepted")
    assert done < opened < first_order
    live = [number for number, kind, body in rows if kind == "candle" and body[-1] != "backfilled"]
    assert live[0] < done, "the market went on while the history was not to be had"
    report = lab.run().report()
    assert "history_failures 6" in report["degradations"]
    assert not any("seed_incomplete" in text for text in report["degradations"])
    assert not any("trading_shut" in text for text in report["degradations"]), "it had not been open before"
    assert report["realm"] == "synthetic"
    assert report["fills"] >= 4


@pytest.mark.behaviour("F9", "S5")
def test_a_session_that_never_warms_runs_to_its_end_and_leaves_with_3(lab: Any, flaky: Any) -> None:
    result = _run(lab, "--set", "flaky.failures=1000", "--set", "trader.need=100")
    report = lab.run().report()
    assert result.code == report["exit_code"] == 3
    assert (report["status"], report["reason"]) == ("failed", "never_warmed")
    assert "seed_incomplete 10/100" in report["degradations"]
    assert report["duration_seconds"] >= 599
    assert report["candles"] == 10
    assert lab.run().rows("order_accepted", "order_filled") == []
    words = "it needs 100 candles before it decides and 10 came"
    assert report["error"] == f"the strategy never decided: {words}"
    assert report["no_trade_reason"] == f"the strategy never decided on a live candle: {words}"
    assert words in result.err
    assert "seed_incomplete 10/100" in lab("report").out


@pytest.mark.behaviour("F9")
def test_live_candles_alone_can_warm_a_session_up(lab: Any, flaky: Any) -> None:
    result = _run(lab, "--set", "flaky.failures=1000", "--set", "trader.need=4", "--gate", "none")
    report = lab.run().report()
    assert result.code == 0
    assert not any("seed_incomplete" in text for text in report["degradations"])
    assert any(text.startswith("history_failures") for text in report["degradations"])
    reasons = [reason for _, _, body in lab.run().rows("trading_state") for reason in body[1]]
    warming = [reason for reason in dict.fromkeys(reasons) if reason.startswith("warming")]
    assert warming == ["warming 0/4", "warming 1/4", "warming 2/4", "warming 3/4"], "the look-back is four, not three"


@pytest.mark.behaviour("F13", "V6")
def test_rubbish_is_counted_and_sampled_and_breaks_neither_session_nor_rendering(lab: Any, flaky: Any) -> None:
    result = _run(lab, "--set", "flaky.rubbish=true")
    assert result.code == 0
    assert "Traceback" not in result.out + result.err
    assert "\x1b[31m" not in result.out
    report = lab.run().report()
    assert report["counters"]["malformed"] == 8
    assert "malformed 8" in report["degradations"]
    assert report["contacted_hosts"] == ["example.test"]
    assert report["fills"] >= 8
    samples = [body[2] for _, _, body in lab.run().rows("notice") if body[1] == "malformed"]
    assert len(samples) == 8
    assert not [body for _, _, body in lab.run().rows("notice") if body[1] == "reporter"]
    page = (lab.run().folder / "summary.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert lab("verify").code == 0


@pytest.mark.behaviour("V6")
def test_a_reporter_that_fails_ends_only_itself(lab: Any, flaky: Any) -> None:
    flaky.install(
        "their_reporter",
        """
        from attrs import define
        from lab import Reporter, hookimpl

        @define(kw_only=True)
        class Fragile(Reporter):
            async def report(self, run, records):
                async for record in records:
                    if record.kind == "candle":
                        raise KeyError("no such colour")

        @hookimpl
        def lab_reporters():
            return {"fragile": Fragile}
        """,
    )
    result = _run(lab, "--reporter", "fragile", "--reporter", "jsonl", "--reporter", "html")
    report = lab.run().report()
    assert result.code == 0
    assert report["error_count"] == 1
    assert report["fills"] >= 8
    assert report["degradations"] == ["reporter_failed fragile: KeyError: 'no such colour'"]
    lines = (lab.run().folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(lab.run().rows())
    assert (lab.run().folder / "summary.html").is_file()
