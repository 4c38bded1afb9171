"""Components that fail before, beside and after the trading loop: while they are made, asked and described."""

from typing import Any

import pytest

BROKEN = """
    from attrs import define, field
    from lab import OrderRequest, ProviderError, RiskGate, Strategy, hookimpl
    from lab.domain.orders import PASS
    from lab.testing.simple_broker import SimpleBroker
    from lab_mock.provider import MockProvider

    class Mute(ProviderError):
        def __str__(self):
            raise ValueError("no text")

    ERRORS = {"value": ValueError("a\\ud800"), "exit": GeneratorExit("mine"), "mute": Mute()}

    def setting():
        return field(default="", metadata={"help": "x"})

    class Asked:
        def ask(self, where, answer):
            if self.where == where and self.what == "nonsense":
                return object()
            if self.where == where:
                raise ERRORS[self.what]
            return answer

        def __attrs_post_init__(self):
            self.ask("init", None)

    @define(kw_only=True, eq=False, slots=False)
    class Odd(Asked, MockProvider):
        where: str = setting()
        what: str = setting()

        def realm(self):
            return self.ask("realm", super().realm())

        def origin(self):
            return self.ask("origin", super().origin())

        def price_source(self):
            return self.ask("price_source", super().price_source())

        def quote_silence_s(self):
            return self.ask("quote_silence_s", super().quote_silence_s())

        def history_depth(self):
            return self.ask("history_depth", super().history_depth())

        async def stream(self, wanted, sink):
            self.ask("stream", None)
            await super().stream(wanted, sink)

    @define(kw_only=True, eq=False, slots=False)
    class Told(Asked, RiskGate):
        where: str = setting()
        what: str = setting()

        def review(self, request, view):
            return PASS

        def describe(self, view):
            return self.ask("describe", {})

    @define(kw_only=True, eq=False, slots=False)
    class Desk(Asked, SimpleBroker):
        where: str = setting()
        what: str = setting()

        def describe(self, instrument):
            return self.ask("describe", {})

        def order_types(self):
            return self.ask("order_types", super().order_types())

    @define(kw_only=True, eq=False, slots=False)
    class Mind(Asked, Strategy):
        where: str = setting()
        what: str = setting()

        @property
        def lookback(self):
            return self.ask("lookback", 1)

        def on_candle(self, candle, view):
            return ()

    @hookimpl
    def lab_providers():
        return {"odd": Odd}

    @hookimpl
    def lab_risk_gates():
        return {"told": Told}

    @hookimpl
    def lab_brokers():
        return {"desk": Desk}

    @hookimpl
    def lab_strategies():
        return {"mind": Mind}
"""
WHAT = ("value", "exit", "mute", "nonsense")


@pytest.fixture
def broken(trader: Any) -> Any:
    trader.install("their_broken", BROKEN)
    return trader


def live(lab: Any, name: str, where: str, what: str, *args: str) -> Any:
    provider = "odd" if name == "odd" else "mock"
    return lab("run", "--provider", provider, "--speed", "max", "--minutes", "3", "--reporter", "none", *args,
               "--set", f"{name}.where={where}", "--set", f"{name}.what={what}")  # fmt: skip


@pytest.mark.behaviour("P3")
@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("call", ["realm", "origin", "price_source", "quote_silence_s", "history_depth"])
def test_a_provider_that_cannot_say_what_it_is_is_refused_before_anything_is_written(
    lab: Any, broken: Any, one_line: Any, call: str, what: str
) -> None:
    one_line(live(lab, "odd", call, what, "--strategy", "trader"), 69, "provider odd", call)
    assert lab.files() == []


@pytest.mark.behaviour("P3")
@pytest.mark.parametrize("what", ["value", "exit", "mute"])
@pytest.mark.parametrize(
    ("name", "flag"), [("odd", ""), ("told", "--gate"), ("desk", "--broker"), ("mind", "--strategy")]
)
def test_a_component_that_cannot_be_made_is_one_line(
    lab: Any, broken: Any, one_line: Any, name: str, flag: str, what: str
) -> None:
    result = live(lab, name, "init", what, *([flag, name] if flag else []))
    one_line(result, 78 if what == "value" else 69, name)


@pytest.mark.behaviour("P3")
@pytest.mark.parametrize("what", WHAT)
def test_a_look_back_that_cannot_be_had_is_one_line(lab: Any, broken: Any, one_line: Any, what: str) -> None:
    one_line(live(lab, "mind", "lookback", what, "--strategy", "mind"), 69, "mind: its lookback")


@pytest.mark.behaviour("V6", "P6")
@pytest.mark.parametrize("command", ["run", "backtest"])
@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(("name", "flag"), [("told", "--gate"), ("desk", "--broker")])
def test_a_component_that_cannot_describe_itself_spoils_no_run(
    lab: Any, broken: Any, command: str, name: str, flag: str, what: str
) -> None:
    speed = ("--speed", "max", "--minutes", "3") if command == "run" else ("--set", "mock.minutes=3")
    result = lab(command, "--provider", "mock", *speed, "--reporter", "none", "--strategy", "trader", flag, name,
                 "--set", f"{name}.where=describe", "--set", f"{name}.what={what}")  # fmt: skip
    report = lab.run().report()
    assert result.code == report["exit_code"] == 0, result.err
    described = report["limits"]["told"] if name == "told" else report["fee_rates"]
    assert described["unknown"].startswith("describe failed: ")
    assert lab("verify").code == 0


@pytest.mark.behaviour("P6")
@pytest.mark.parametrize("what", ["value", "exit"])
def test_a_broker_that_cannot_say_what_it_takes_ends_the_run_as_its_failure(lab: Any, broken: Any, what: str) -> None:
    result = live(lab, "desk", "order_types", what, "--broker", "desk", "--strategy", "trader")
    assert result.code == lab.run().report()["exit_code"] == 69, result.err
    assert "broker desk failed in order_types: " in lab.run().report()["error"]
    assert lab("verify").code == 0


@pytest.mark.behaviour("V1")
@pytest.mark.parametrize("what", ["value", "mute"])
def test_an_error_that_cannot_be_shown_still_ends_the_run_in_order_with_a_report(
    lab: Any, broken: Any, what: str
) -> None:
    result = live(lab, "odd", "stream", what, "--strategy", "trader")
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69, result.err
    assert report["error"].startswith("provider odd")
    assert "defect in lab" not in result.err
    assert lab("verify").code == 0


LISTED = """
    from decimal import Decimal
    import attrs
    from attrs import define, field
    from lab import hookimpl
    from lab_mock.provider import MockProvider

    VALUES = {"float": 0.1, "nan": Decimal("NaN"), "fine": Decimal("1E-500"), "vast": Decimal("1E+40"), "none": None,
              "letter": "\\ud800", "text": "x", "escape": "\\x1b[2J"}

    @define(kw_only=True, eq=False)
    class Lister(MockProvider):
        name: str = field(default="", metadata={"help": "x"})
        what: str = field(default="", metadata={"help": "x"})

        def batch_instrument(self, symbol):
            found = super().batch_instrument(symbol)
            if self.name == "all":
                return VALUES.get(self.what, 5)
            if self.name != "seen":
                object.__setattr__(found, self.name, VALUES[self.what])
            return found

        def source(self):
            return {"\\ud800": "x"} if self.name == "seen" else super().source()

    @hookimpl
    def lab_providers():
        return {"lister": Lister}
"""


@pytest.mark.behaviour("P7")
@pytest.mark.parametrize("command", ["run", "backtest"])
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("all", "five"), ("all", "text"), ("symbol", "letter"), ("base", "escape"), ("origin", "letter"),
        ("tick", "float"), ("tick", "nan"), ("tick", "fine"), ("lot", "float"), ("lot", "fine"), ("lot", "vast"),
        ("quantity_min", "none"), ("quantity_min", "nan"), ("quantity_max", "text"), ("taker_fee_rate", "fine"),
        ("taker_fee_rate", "none"), ("maker_fee_rate", "vast"), ("leverage_max", "nan"),
    ],
)  # fmt: skip
def test_an_instrument_that_cannot_be_computed_with_is_refused_before_anything_is_written(
    lab: Any, trader: Any, one_line: Any, command: str, name: str, what: str
) -> None:
    trader.install("their_lister", LISTED)
    speed = ("--speed", "max") if command == "run" else ()
    result = lab(command, "--provider", "lister", "--strategy", "trader", *speed, "--set", f"lister.name={name}",
                 "--set", f"lister.what={what}")  # fmt: skip
    one_line(result, 69, "provider lister", "instrument() gave", "" if name == "all" else name)
    assert lab.files() == []


def test_a_source_that_cannot_be_recorded_is_its_providers_failure(lab: Any, trader: Any) -> None:
    trader.install("their_lister", LISTED)
    result = lab("backtest", "--provider", "lister", "--strategy", "trader", "--set", "lister.name=seen",
                 "--set", "lister.what=none")  # fmt: skip
    assert result.code == 69, result.err
    assert result.err.splitlines()[-1].startswith("lab: provider lister failed in source: ")
    assert "defect in lab" not in result.err


PROBED = """
    import asyncio
    from attrs import define, field
    from lab import hookimpl
    from lab.ports import Check
    from lab_mock.provider import MockProvider

    ANSWERS = {"none": None, "number": 5, "others": ["x"],
               "figures": [Check(1, True, 2.5), Check("\\ud800", None, None)]}

    @define(kw_only=True, eq=False)
    class Probed(MockProvider):
        what: str = field(default="", metadata={"help": "x"})

        async def probe(self, wanted):
            if self.what == "cancelled":
                raise asyncio.CancelledError
            if self.what == "base":
                raise GeneratorExit
            return ANSWERS[self.what]

    @hookimpl
    def lab_providers():
        return {"probed": Probed}
"""


@pytest.mark.behaviour("F14")
@pytest.mark.parametrize("command", ["probe", "doctor"])
@pytest.mark.parametrize("what", ["none", "number", "others", "cancelled", "base", "figures"])
def test_a_probe_that_fails_or_gives_no_checks_is_a_row_of_the_table(
    lab: Any, site: Any, command: str, what: str
) -> None:
    site.install("their_probed", PROBED)
    result = lab(command, "--provider", "probed", "--set", f"probed.what={what}")
    assert result.code == (0 if what == "figures" else 1), result.err
    assert "Traceback" not in result.err
    assert ("2.5" if what == "figures" else "probed failed: ") in result.out
