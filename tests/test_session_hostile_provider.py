"""A provider, or the server behind it, that fails, refuses or floods: what ends a session, and what never does."""

from typing import Any

import pytest

HOSTILE = '''
"""The mock, with a history that fails as it is told, and a connection that says too much."""
import anyio
from attrs import define, field
from lab import AuthenticationFailed, FeedState, ProviderUnavailable, RateLimited, hookimpl
from lab_mock.provider import MockProvider

ERRORS = {"transient": ProviderUnavailable, "rate": RateLimited, "key": AuthenticationFailed}

@define(kw_only=True, eq=False)
class Hostile(MockProvider):
    """The mock, hostile."""
    errors: str = field(default="", metadata={"help": "what the calls of history raise, one after another"})
    flood: int = field(default=0, metadata={"help": "messages of the feed a second"})
    words: str = field(default="refused", metadata={"help": "what each of them says"})
    _asked: int = field(init=False, default=0)

    async def history(self, symbol, interval_ns, *, end_ns, count):
        errors = self.errors.split()
        self._asked += 1
        if self._asked <= len(errors):
            raise ERRORS[errors[self._asked - 1]](f"example.test: {errors[self._asked - 1]}")
        return await super().history(symbol, interval_ns, end_ns=end_ns, count=count)

    async def stream(self, wanted, sink):
        async def flood():
            for number in range(120 * self.flood):
                sink.feed(FeedState.LIVE, self.words.format(number=number, kind=chr(97 + number % 26) * 3))
                await anyio.sleep(1 / self.flood)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood)
            await super().stream(wanted, sink)

@hookimpl
def lab_providers():
    return {"hostile": Hostile}
'''


@pytest.fixture
def hostile(trader: Any) -> Any:
    trader.install("their_hostile", HOSTILE)
    return trader


def _run(lab: Any, *args: str, minutes: int = 5) -> Any:
    return lab(
        "run", "--provider", "hostile", "--speed", "max", "--minutes", str(minutes), "--strategy", "trader", *args
    )


@pytest.mark.behaviour("F12")
def test_five_transient_errors_within_a_minute_stop_no_session(lab: Any, hostile: Any) -> None:
    result = _run(lab, "--set", "hostile.errors=transient transient transient rate transient")
    assert result.code == 0, result.err
    report = lab.run().report()
    assert "history_failures 5" in report["degradations"]
    assert report["fills"] > 0


@pytest.mark.behaviour("F12")
def test_an_authentication_error_ends_the_session_at_once(lab: Any, hostile: Any, one_line: Any) -> None:
    result = _run(lab, "--set", "hostile.errors=transient key")
    assert result.code == 69, result.err
    report = lab.run().report()
    assert (report["status"], report["reason"]) == ("failed", "plugin_refused")
    assert report["error"] == "provider hostile: example.test: key"
    assert report["duration_seconds"] < 5
    assert "Traceback" not in result.err


@pytest.mark.behaviour("F4")
@pytest.mark.parametrize(
    ("words", "most"), [("refused {number} times", 2 * 20), ("{kind} went wrong", 2 * 120)], ids=["one kind", "many"]
)
def test_a_feed_that_says_too_much_fills_no_journal(lab: Any, hostile: Any, words: str, most: int) -> None:
    result = _run(lab, "--set", "hostile.flood=100", "--set", f"hostile.words={words}")
    assert result.code == 0, result.err
    said = [body[2]["detail"] for _, _, body in lab.run().rows("notice") if body[1] == "feed"]
    told = [detail for detail in said if "more messages of the feed within a minute" in detail]
    rest = len([detail for detail in said if "refused" in detail or "went wrong" in detail])
    assert most // 2 <= rest <= most
    assert rest + sum(int(detail.split()[0]) for detail in told) == 12_000, "what is left out is counted"
    assert len(told) == 2
