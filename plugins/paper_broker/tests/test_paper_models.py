"""The models that a setting can name, and what is said of text that names none."""

from decimal import Decimal
from pathlib import Path
from re import escape
from statistics import median

import pytest
from lab import MarketView, Order, Rejected
from lab_paper_broker.broker import PaperBroker
from lab_paper_broker.models import HeavyTail, Measured, RandomRejects, load_model
from paper import BTC, MS, SELL, START, D, at, broker, candle, only_fill, order, quote, seen, send, trade

MODELS = "lab_paper_broker.models"
HERE = __name__


class Slow:
    """A model of latency that goes backwards for cancels: what is sent later arrives no earlier."""

    def submit_ns(self, order_id: str, seed: int) -> int:
        return 5 * MS

    def cancel_ns(self, order_id: str, seed: int) -> int:
        return 0


class HalfAPercent:
    def rate(self, order: Order, liquidity: str) -> Decimal:
        return D("0.005") if liquidity == "taker" else D("-0.001")


class OneTick:
    def fraction(self, order: Order, quantity: Decimal, typical: Decimal | None, quoted: bool) -> Decimal:
        return D("0.001") if quoted else D("0.002")


class Iceberg:
    """Three times what is displayed can be had."""

    def available(self, order: Order, shown: Decimal | None) -> Decimal | None:
        return None if shown is None else shown * 3


class TakesAll:
    def available(self, order: Order, shown: Decimal | None) -> Decimal | None:
        return None


class TenAhead:
    def ahead(self, order: Order, displayed: Decimal | None) -> Decimal:
        return D(10)


class NoSells:
    def reason(self, order: Order, market: MarketView | None, seed: int) -> str:
        return "no sells today" if order.side == "sell" else ""


class Wrong:
    rate = 5


class Refuses:
    def __init__(self) -> None:
        raise OSError("no file")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the models of this file be named, however pytest has imported it."""
    import sys

    monkeypatch.setitem(sys.modules, "models_of_mine", sys.modules[HERE])


def mine(name: str) -> str:
    return f"models_of_mine:{name}"


# -- each model ------------------------------------------------------------------------------------------------------


def test_a_model_of_latency_says_when_orders_and_cancels_arrive() -> None:
    paper = broker(latency_model=mine("Slow"))
    assert send(paper, order(limit="99")) == START + 5 * MS
    assert paper.cancel("o-1", at(50)).eligible_ns == at(50)  # type: ignore[union-attr]
    assert paper.describe(BTC)["latency"].startswith(f"{mine('Slow')}: ")


def test_a_model_of_fees_replaces_the_rates_of_takers_and_makers() -> None:
    paper = broker(fee_model=mine("HalfAPercent"))
    send(paper, order(), order(limit="99", oid="o-2"), order(limit="98", oid="o-3"))
    assert only_fill(paper, quote(250)).fee_rate == D("0.005")
    assert only_fill(paper, quote(300, 98.0, 98.9)).fee == 99 * D("-0.001")
    assert paper.describe(BTC)["taker"] == paper.describe(BTC)["maker"] == mine("HalfAPercent")
    candles = broker(fee_model=mine("HalfAPercent"))
    send(candles, order(limit="110"))
    assert only_fill(candles, candle(-1)).fee_rate == D("0.005")


def test_a_model_of_slippage_replaces_both_and_knows_where_it_is_asked() -> None:
    paper = broker(slippage_model=mine("OneTick"))
    send(paper, order())
    assert only_fill(paper, quote(250)).price == D("100.3")  # 100.1 × 1.001 = 100.2001
    candles = broker(slippage_model=mine("OneTick"))
    send(candles, order(SELL))
    assert only_fill(candles, candle(0)).price == D("99.8")
    assert paper.describe(BTC)["slippage"] == mine("OneTick")


def test_a_share_of_what_is_displayed_is_all_that_an_order_gets() -> None:
    paper = broker(liquidity_model=f"{MODELS}:ShareOfDisplayed(share=0.25)")
    send(paper, order(quantity="5"))
    assert seen(paper, quote(250, ask_size=8.0)) == ["o-1 fill 2 @ 100.1"]  # a quarter of 8
    assert seen(paper, quote(300, ask_size=8.0)) == ["o-1 fill 1.5 @ 100.1"]  # a quarter of the 6 that are left
    assert seen(paper, quote(350, ask=100.2, ask_size=0.0)) == ["o-1 fill 1.5 @ 100.2"]
    candles = broker(liquidity_model=f"{MODELS}:ShareOfDisplayed(share=0.25)")
    send(candles, order(quantity="5"), order(quantity="5", oid="o-2"))
    assert seen(candles, candle(0, volume=8.0)) == ["o-1 fill 2 @ 100", "o-2 fill 1.5 @ 100"]


def test_a_generous_model_gives_more_than_is_displayed_and_never_less_than_nothing() -> None:
    paper = broker(liquidity_model=mine("Iceberg"))
    send(paper, order(quantity="5"), order(quantity="1", oid="o-2"))
    assert seen(paper, quote(250, ask_size=2.0)) == ["o-1 fill 5 @ 100.1"]
    assert paper.observe(quote(300, ask_size=2.0)) == []
    candles = broker(liquidity_model=mine("TakesAll"))
    send(candles, order(quantity="9"), order(quantity="9", oid="o-2"))
    assert seen(candles, candle(0, volume=2.0)) == ["o-1 fill 9 @ 100", "o-2 fill 9 @ 100"]
    mixed = broker(liquidity_model=mine("Iceberg"))
    send(mixed, order(quantity="5"), order(quantity="9", oid="o-2"))
    assert seen(mixed, candle(0, volume=2.0)) == ["o-1 fill 5 @ 100"]


def test_a_model_of_the_queue_replaces_what_is_displayed() -> None:
    for model, left in ((mine("TenAhead"), "10"), (f"{MODELS}:NoQueue", "0")):
        paper = broker(queue_model=model)
        send(paper, order(limit="100"))
        paper.observe(quote(250, bid_size=4.0))
        fill = only_fill(paper, trade(300, 100.0, 10.25))
        assert (fill.queue, fill.quantity) == (D(left), D("0.25") if left == "10" else 1)


def test_a_model_of_rejects_says_why_the_venue_takes_no_order() -> None:
    paper = broker(reject_model=mine("NoSells"))
    assert paper.submit(order(SELL), START) == Rejected("no sells today")
    send(paper, order())


def test_the_header_names_the_models_of_liquidity_queue_and_rejects() -> None:
    paper = broker(
        liquidity_model=f"{MODELS}:ShareOfDisplayed", queue_model=f"{MODELS}:NoQueue", reject_model=mine("NoSells")
    )
    expected = f"what is displayed, once; {MODELS}:ShareOfDisplayed; {MODELS}:NoQueue; {mine('NoSells')}"
    assert paper.describe(BTC)["liquidity"] == expected


# -- those that are shipped ------------------------------------------------------------------------------------------


def test_random_rejects_are_a_share_drawn_from_the_ids_and_the_seed() -> None:
    model = RandomRejects(share=0.1)

    def rejected(seed: int) -> list[int]:
        return [n for n in range(2_000) if model.reason(order(oid=f"o-{n}"), None, seed)]

    assert 150 < len(rejected(1)) < 250
    assert rejected(1) == rejected(1)
    assert rejected(1) != rejected(2)
    assert model.reason(order(oid=f"o-{rejected(1)[0]}"), None, 1) == "the venue is busy"
    assert not RandomRejects(share=0.0).reason(order(), None, 1)
    assert RandomRejects(share=1.0).reason(order(), None, 1)


def test_a_heavy_tail_has_its_median_and_one_in_a_hundred_is_many_times_longer() -> None:
    model = HeavyTail(median_ms=100.0, cancel_median_ms=50.0, sigma=0.7)
    sent = sorted(model.submit_ns(f"o-{n}", 7) for n in range(4_000))
    assert median(sent) == pytest.approx(100 * MS, rel=0.06)
    assert sent[3_960] > 4 * 100 * MS  # exp(0.7 × 2.33) = 5.1
    assert median([model.cancel_ns(f"o-{n}", 7) for n in range(4_000)]) == pytest.approx(50 * MS, rel=0.06)
    assert model.submit_ns("o-1", 7) == model.submit_ns("o-1", 7)
    assert (
        max(HeavyTail(median_ms=100.0, sigma=3.0, most_ms=300.0).submit_ns(f"o-{n}", 7) for n in range(500)) == 300 * MS
    )


def test_measured_latencies_are_drawn_from_the_file_and_the_header_shows_them(tmp_path: Path) -> None:
    both, cancels = tmp_path / "both.csv", tmp_path / "cancels.csv"
    both.write_text("ms,what\n10,a\n\n ,empty\n30.5,b\n")
    cancels.write_text("7\n")
    model = Measured(path=str(both))
    assert {model.submit_ns(f"o-{n}", 7) for n in range(50)} == {10 * MS, 30_500_000}
    assert {model.cancel_ns(f"o-{n}", 7) for n in range(50)} == {10 * MS, 30_500_000}
    assert Measured(path=str(both), cancel_path=str(cancels)).cancel_ns("o-1", 7) == 7 * MS
    assert str(model).startswith("2 measured, median 20.25 ms (")
    paper = broker(latency_model=f"{MODELS}:Measured(path={str(both)!r})")
    assert "2 measured, median 20.25 ms" in paper.describe(BTC)["latency"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no latencies; expected a line for each, in milliseconds"),
        (b"ms\n", "no latencies"),
        (b"10\nfast\n", "line 2: 'fast'; expected milliseconds from 0 to 3600000"),
        (b"10\n-1\n", "line 2: '-1'"),
        (b"3600001\n", "line 1: '3600001'"),
        (b"nan\n", "line 1: 'nan'"),
        (b"\xff\xfe\n", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_latencies_is_refused_with_its_line(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "measured.csv"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=escape(said)) as caught:
        Measured(path=str(path))
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Measured(path=str(tmp_path / "none.csv"))
    monkeypatch.setattr(f"{MODELS}._MEASURED_MOST", 2)
    path = tmp_path / "long.csv"
    path.write_text("1\n2\n3\n")
    with pytest.raises(ValueError, match=r"line 3: '3'; .* at most 2 lines"):
        Measured(path=str(path))


# -- text that names none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HeavyTail", "names no model; expected module:Class or module:Class(name=value)"),
        (f"{MODELS}:", "names no model"),
        (f"{MODELS}:Heavy Tail", "names no model"),
        (f"{MODELS}:HeavyTail(5)", "with numbers, True, False, None or text in quotes"),
        (f"{MODELS}:HeavyTail(**{{}})", "with numbers, True, False, None or text in quotes"),
        (f"{MODELS}:HeavyTail(median_ms=", "expected module:Class(name=value, ...) with numbers"),
        (f"{MODELS}:HeavyTail(median_ms=open('x'))", "text in quotes"),
        (f"{MODELS}:HeavyTail() + 1 if (1) else (2", "text in quotes"),
        (f"{MODELS}:HeavyTail(median_ms=-1)", "ValueError"),
        (f"{MODELS}:HeavyTail(speed=1)", "TypeError"),
        (f"{MODELS}:Nothing", "AttributeError"),
        ("no_such_module:Model", "ModuleNotFoundError"),
        (mine("Refuses"), "OSError: no file"),
        (mine("Wrong"), "it has no method submit_ns, cancel_ns; expected submit_ns, cancel_ns"),
        (f"{MODELS}:NoQueue", "it has no method submit_ns, cancel_ns"),
    ],
)
def test_text_that_names_no_fitting_model_is_refused_with_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=escape(said)) as caught:
        PaperBroker(latency_model=text)
    assert text in str(caught.value)


def test_a_value_that_is_no_method_does_not_count_as_one() -> None:
    with pytest.raises(ValueError, match="it has no method rate; expected rate"):
        PaperBroker(fee_model=mine("Wrong"))


def test_no_text_names_no_model() -> None:
    assert load_model("", ("rate",)) is None


class Nonsense:
    """A model whose every answer is of the wrong kind."""

    def rate(self, order: object, liquidity: str) -> float:
        return 0.0003

    def fraction(self, order: object, quantity: object, typical: object, quoted: bool) -> float:
        return -0.1

    def submit_ns(self, order_id: str, seed: int) -> float:
        return 1e6

    def cancel_ns(self, order_id: str, seed: int) -> int:
        return -1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fee_model", r"fee_model: rate\(\) gave 0.0003 \(float\); expected a fraction as Decimal"),
        ("slippage_model", r"slippage_model: fraction\(\) gave -0.1 \(float\); expected a Decimal from 0 to under 1"),
    ],
)
def test_a_model_whose_figures_are_none_is_named_at_its_first_fill(setting: str, message: str) -> None:
    paper = broker(**{setting: f"{__name__}:Nonsense"})
    send(paper, order())
    with pytest.raises(TypeError, match=message):
        paper.observe(quote(250))


def test_a_latency_that_is_none_is_named_when_it_is_drawn() -> None:
    paper = broker(latency_model=f"{__name__}:Nonsense")
    with pytest.raises(TypeError, match=r"latency_model: submit_ns\(\) gave 1000000.0 \(float\); expected nanoseconds"):
        paper.submit(order(), at(0))


def test_models_of_margin_and_funding_replace_tiers_and_rates_and_stand_in_the_header() -> None:
    plain = broker()
    assert plain.margin_tiers("BTCUSDT") is None
    assert plain.funding_rate("BTCUSDT", D("0.0001"), 0) == D("0.0001")
    assert plain.funding_rate("BTCUSDT", None, 0) is None
    assert not {"margin", "funding"} & plain.describe(BTC).keys()
    margin, funding = f"{MODELS}:FlatMargin(maintenance=0.02, leverage_max=20)", f"{MODELS}:FixedFunding(each=-0.0003)"
    paper = broker(margin_model=margin, funding_model=funding)
    [tier] = paper.margin_tiers("BTCUSDT") or ()
    assert (tier.notional_from, tier.notional_to, tier.leverage_max) == (0, None, 20)
    assert (tier.maintenance_rate, tier.deduction) == (D("0.02"), 0)
    assert paper.funding_rate("BTCUSDT", None, 0) == D("-0.0003")
    assert paper.funding_rate("BTCUSDT", D("0.0001"), 0) == D("0.0001")
    assert (paper.describe(BTC)["margin"], paper.describe(BTC)["funding"]) == (margin, funding)


@pytest.mark.parametrize(
    "text",
    ["FlatMargin(maintenance=1)", "FlatMargin(leverage_max=0)", "FixedFunding(each=1)", "FlatMargin(leverage_max=2.5)"],
)
def test_figures_that_no_margin_or_funding_has_are_refused(text: str) -> None:
    setting = "margin_model" if text.startswith("Flat") else "funding_model"
    with pytest.raises(ValueError, match=f"{setting}: .*(Value|Type)Error"):
        PaperBroker(**{setting: f"{MODELS}:{text}"})


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("liquidity_model", "ShareOfDisplayed(share=True)"),
        ("reject_model", "RandomRejects(share=True)"),
        ("margin_model", "FlatMargin(maintenance=False)"),
        ("margin_model", "FlatMargin(leverage_max=True)"),
        ("funding_model", "FixedFunding(each=False)"),
        ("funding_model", "FixedFunding(each='much')"),
        ("latency_model", "HeavyTail(median_ms=1e400)"),
        ("latency_model", f"HeavyTail(most_ms=1{'0' * 400})"),
        ("latency_model", "HeavyTail(sigma=True)"),
    ],
)
def test_what_is_no_number_to_reckon_with_is_refused_by_the_name_of_its_setting(setting: str, text: str) -> None:
    name = text[text.index("(") + 1 : text.index("=")]
    with pytest.raises(ValueError, match=rf"{setting}: .*{name} is .*expected a number"):
        PaperBroker(**{setting: f"{MODELS}:{text}"})


class Saying:
    """A model of whatever says what it was given, whatever it is asked."""

    def __init__(self, what: str) -> None:
        self.what = {"NaN": D("NaN"), "third": D(1) / D(3), "float": 0.01, "below": D(-1), "none": None}[what]

    def answer(self, *_: object) -> object:
        return self.what

    available = ahead = reason = rate = fraction = answer


@pytest.mark.parametrize(
    ("setting", "what", "said"),
    [
        (
            "liquidity_model",
            "NaN",
            "available() gave Decimal('NaN') (Decimal); expected a quantity as Decimal, or None",
        ),
        ("liquidity_model", "float", "available() gave 0.01 (float)"),
        ("queue_model", "NaN", "ahead() gave Decimal('NaN')"),
        ("queue_model", "below", "ahead() gave Decimal('-1') (Decimal); expected a quantity as Decimal, 0 or more"),
        ("reject_model", "float", "reason() gave 0.01 (float); expected a text, empty where the order is taken"),
        ("fee_model", "NaN", "rate() gave Decimal('NaN')"),
        ("fee_model", "third", "expected a fraction as Decimal with at most 18 decimals"),
        ("slippage_model", "NaN", "fraction() gave Decimal('NaN')"),
    ],
)
def test_an_answer_that_cannot_be_used_is_told_by_the_name_of_its_model(setting: str, what: str, said: str) -> None:
    paper = broker(**{setting: mine(f"Saying(what='{what}')")})

    def trade() -> None:
        send(paper, order(), order(limit="99.9", oid="o-2"))
        paper.observe(quote(250))

    with pytest.raises(TypeError, match=escape(f"{setting}: ")) as caught:
        trade()
    assert said in str(caught.value)


def test_a_model_that_gives_all_that_is_wanted_says_nothing_of_what_is_displayed() -> None:
    paper = broker(liquidity_model=mine("Saying(what='none')"))
    send(paper, order(quantity="5"))
    fill = only_fill(paper, quote(250, ask_size=2.0))
    assert (fill.quantity, fill.displayed) == (5, None)
