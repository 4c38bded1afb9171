"""What a component does to its process: the decimal context, the working folder, the streams."""

import decimal
from typing import Any

import pytest

SPOILING = """
    import decimal, os, sys
    from decimal import Context, Decimal, getcontext, setcontext
    from attrs import define, field
    from lab import OrderRequest, Strategy, hookimpl
    from lab_mock.provider import MockProvider

    def trap():
        for signal in getcontext().traps:
            getcontext().traps[signal] = True

    def coarse():
        getcontext().prec = 3

    def tiny():
        setcontext(Context(prec=1, Emax=1, Emin=-1, clamp=1))

    def folder():
        os.chdir("/")

    def streams():
        sys.stdout.close()
        sys.stderr.close()

    SPOILS = {"trap": trap, "coarse": coarse, "tiny": tiny, "folder": folder, "streams": streams}

    def setting():
        return field(default="", metadata={"help": "x"})

    @define(kw_only=True, eq=False)
    class Spoiler(MockProvider):
        where: str = setting()
        what: str = setting()

        def spoil(self, where):
            if self.where == where:
                SPOILS[self.what]()

        def __attrs_post_init__(self):
            self.spoil("init")

        async def start(self, runtime):
            self.spoil("start")
            await super().start(runtime)

        async def instrument(self, symbol):
            found = await super().instrument(symbol)
            self.spoil("instrument")
            return found

        async def history(self, *args, **options):
            found = await super().history(*args, **options)
            self.spoil("history")
            return found

        async def stream(self, wanted, sink):
            self.spoil("stream")
            await super().stream(wanted, sink)

        def source(self):
            self.spoil("source")
            return super().source()

    @define(kw_only=True, eq=False)
    class Divider(Strategy):
        what: str = setting()

        @property
        def lookback(self):
            return 1

        def on_candle(self, candle, view):
            held = view.position(candle.symbol).quantity
            thirds = Decimal(1) / 3 if not self.what else Decimal(1)
            if self.what:
                SPOILS[self.what]()
            if held:
                return [OrderRequest.sell(candle.symbol, held, reduce_only=True)]
            return [OrderRequest.buy(candle.symbol, thirds / 10)] if not self.what else [
                OrderRequest.buy(candle.symbol, Decimal("0.0333"))
            ]

    @hookimpl
    def lab_providers():
        return {"spoiler": Spoiler}

    @hookimpl
    def lab_strategies():
        return {"divider": Divider}
"""
COMMANDS = {
    "run": ("run", "--speed", "max", "--minutes", "5"),
    "backtest": ("backtest", "--set", "spoiler.minutes=5"),
}


@pytest.fixture
def spoiling(site: Any) -> Any:
    site.install("their_spoiling", SPOILING)
    return site


def spoilt(lab: Any, command: str, *args: str) -> Any:
    with decimal.localcontext():  # this process is the test's
        return lab(*COMMANDS[command], "--provider", "spoiler", "--strategy", "divider", *args)


@pytest.mark.behaviour("J6", "P7")
@pytest.mark.parametrize("what", ["coarse", "tiny", "trap"])
@pytest.mark.parametrize("where", ["init", "start", "instrument", "history", "stream", "source"])
def test_what_a_provider_does_to_the_decimal_context_no_strategy_notices(
    lab: Any, spoiling: Any, where: str, what: str
) -> None:
    command = "backtest" if where == "source" else "run"
    result = spoilt(lab, command, "--set", f"spoiler.where={where}", "--set", f"spoiler.what={what}")
    assert result.code == lab.run().report()["exit_code"] == 0, result.err
    [first, *_] = lab.run().rows("order_accepted")
    assert first[2]["requested"] == "0.03333333333333333333333333333"
    assert lab("verify").code == 0


@pytest.mark.behaviour("V1", "P7")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["coarse", "tiny", "trap", "folder", "streams"])
def test_a_strategy_that_spoils_its_process_changes_neither_end_nor_report(
    lab: Any, spoiling: Any, command: str, what: str
) -> None:
    result = spoilt(lab, command, "--set", f"divider.what={what}")
    report = lab.run().report()
    assert result.code == report["exit_code"] == 0, result.err
    assert "runs/" in result.out.splitlines()[-1]
    assert not result.out.splitlines()[-1].startswith("files: /")
    assert lab.run().rows("order_filled")
    assert {path.name for path in lab.run().folder.iterdir()} >= {"journal.db", "final_report.json"}
    assert lab("verify").code == 0
