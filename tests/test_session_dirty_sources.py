"""What a provider hands over beside market data: feed states, malformed samples, session inputs, batches of nothing."""

from typing import Any

import pytest

DIRTY = """
    from attrs import define, field
    from lab import Candle, hookimpl
    from lab.domain.control import Notice, Timer, TradingState
    from lab.domain.market import Backfill
    from lab.ports import FeedState
    from lab_mock.provider import MockProvider

    class Mute:
        def __repr__(self):
            raise KeyError("no text")

        def __eq__(self, other):
            raise KeyError("no match")

        __hash__ = None

    CALLS = {
        "state text": lambda sink: sink.feed("live"),
        "state none": lambda sink: sink.feed(None),
        "detail letter": lambda sink: sink.feed(FeedState.LIVE, "\\ud800"),
        "detail object": lambda sink: sink.feed(FeedState.LIVE, Mute()),
        "sample letter": lambda sink: sink.malformed("\\ud800", "\\ud800"),
        "sample none": lambda sink: sink.malformed(None, None),
        "sample huge": lambda sink: sink.malformed("x" * 10**7, b"\\xff" * 10**7),
    }

    def inputs(candle):
        return {
            "timer": Timer("x"), "timer huge": Timer(10**30), "old": Timer(-1),
            "back-fill": Backfill(candle.symbol, candle.time_ns, (candle._asdict(),)),
            "notice": Notice(candle.time_ns, "x", {"a": Mute()}),
            "letter": Notice(candle.time_ns, "x", {"a": "\\ud800"}),
            "state": TradingState(candle.time_ns, "abc"), "symbol": candle._replace(symbol=Mute()),
            "status": candle._replace(status=Mute()),
        }

    BATCHES = {"int": 5, "none": None, "text": "abc", "table": {1: 2}, "generator": (x for x in ())}

    @define(kw_only=True, eq=False)
    class Dirty(MockProvider):
        what: str = field(default="", metadata={"help": "x"})

        async def stream(self, wanted, sink):
            if self.what in CALLS:
                CALLS[self.what](sink)
            await super().stream(wanted, sink)

        def batches(self, wanted, *, seed):
            number = 0
            for events in super().batches(wanted, seed=seed):
                for event in events:
                    if isinstance(event, Candle):
                        number += 1
                        if number == 3 and self.what in BATCHES:
                            yield BATCHES[self.what]
                        elif number == 3 and self.what != "sound":
                            yield [inputs(event)[self.what]]
                    yield [event]

    @hookimpl
    def lab_providers():
        return {"dirty": Dirty}
"""


@pytest.fixture
def dirty(trader: Any) -> Any:
    trader.install("their_dirty", DIRTY)
    return trader


def run(lab: Any, command: str, what: str) -> Any:
    length = ("--speed", "max", "--minutes", "5") if command == "run" else ("--set", "dirty.minutes=9")
    return lab(command, "--provider", "dirty", "--strategy", "trader", "--set", "trader.need=1", "--gate", "none",
               *length, "--set", f"dirty.what={what}")  # fmt: skip


@pytest.mark.behaviour("P7")
@pytest.mark.parametrize("what", ["state text", "state none"])
def test_a_feed_state_that_is_none_is_the_providers_failure(lab: Any, dirty: Any, what: str) -> None:
    result = run(lab, "run", what)
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69, result.err
    assert report["error"].startswith("provider dirty failed in stream: TypeError: feed() was given ")
    assert "defect in lab" not in result.err
    assert lab("verify").code == 0


@pytest.mark.behaviour("P7")
@pytest.mark.parametrize("what", ["detail letter", "detail object", "sample letter", "sample none", "sample huge"])
def test_a_detail_or_sample_that_is_no_text_is_recorded_as_one(lab: Any, dirty: Any, what: str) -> None:
    result = run(lab, "run", what)
    assert result.code == lab.run().report()["exit_code"] == 0, result.err
    assert max(len(str(body)) for _, _, body in lab.run().rows("notice")) < 1_000
    assert lab("verify").code == 0


@pytest.mark.behaviour("P7")
@pytest.mark.parametrize("what", ["timer", "timer huge", "back-fill", "old", "notice", "letter", "state", "status"])
def test_an_input_of_recorded_data_that_cannot_be_read_back_is_held_out(lab: Any, dirty: Any, what: str) -> None:
    assert run(lab, "backtest", "sound").code == 0
    sound = lab.run().raw()
    result = run(lab, "backtest", what)
    report = lab.run().report()
    assert result.code == report["exit_code"] == 0, result.err
    assert [text for text in report["degradations"] if text.startswith("held_out 1: ")]
    assert len(lab.run().raw()) == len(sound)
    assert lab("verify").code == 0


@pytest.mark.behaviour("P7")
def test_a_symbol_that_cannot_be_compared_is_the_providers_failure(lab: Any, dirty: Any) -> None:
    result = run(lab, "backtest", "symbol")
    assert result.code == lab.run().report()["exit_code"] == 69, result.err
    assert "candle of <Mute that cannot be described: KeyError>" in lab.run().report()["error"]


@pytest.mark.behaviour("P7")
@pytest.mark.parametrize("what", ["int", "none", "table", "generator"])
def test_a_batch_that_is_no_sequence_is_the_providers_failure(lab: Any, dirty: Any, what: str) -> None:
    result = run(lab, "backtest", what)
    report = lab.run().report()
    assert result.code == report["exit_code"] == 69, result.err
    assert report["error"].startswith("provider dirty failed in batches: TypeError: it gave ")
    assert "defect in lab" not in result.err


@pytest.mark.behaviour("P7")
def test_a_batch_of_letters_is_the_providers_failure(lab: Any, dirty: Any) -> None:
    result = run(lab, "backtest", "text")
    assert result.code == lab.run().report()["exit_code"] == 69, result.err
    assert "str is no market data" in lab.run().report()["error"]
