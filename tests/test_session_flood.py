"""Five thousand messages a second against a strategy that stops the loop for 200 ms at each candle: two processes, a
real socket, the shipped session. Nothing is lost, memory stays, the trading gate stays open."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lab.domain.time import MINUTE_NS

VENUE = Path(__file__).parent / "helpers" / "flooding_venue.py"
RATE = 5_000
SPEED = 5
"""How fast the session's clock runs: a candle ends every twelve real seconds."""
MIB = 1 << 20

FLOODED = """
    import json
    import os
    import time
    from decimal import Decimal
    from pathlib import Path
    from attrs import define, field
    from lab import OrderRequest, Side, Strategy, hookimpl

    PAGE = os.sysconf("SC_PAGE_SIZE")

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    @define(kw_only=True)
    class Flooded(Strategy):
        path: str = field(default="", metadata={"help": "where it writes what it saw"})
        lookback = 0
        seen: dict = field(init=False, factory=lambda: dict(
            quotes=0, first=0, last=0, trades=0, trade=0, lost=0, before=0, most=0, candles=[]))

        def on_candle(self, candle, view):
            time.sleep(0.2)
            self.seen["candles"].append([candle.open_ns, candle.status])
            self.note()
            side = Side.BUY if len(self.seen["candles"]) % 2 else Side.SELL
            return [OrderRequest(symbol=candle.symbol, side=side, quantity=Decimal("0.001"), reason="a candle")]

        def on_quote(self, quote, view):
            seen = self.seen
            seen["quotes"] += 1
            seen["first"] = seen["first"] or int(quote.bid_size)
            seen["last"] = int(quote.bid_size)
            if seen["quotes"] == 10:
                seen["before"] = resident()
            if seen["quotes"] % 500 == 0 or quote.ask_size == 3:
                self.note()
            return ()

        def on_trade(self, trade, view):
            seen = self.seen
            seen["lost"] += int(trade.size) != seen["trade"] + 1
            seen["trade"] = int(trade.size)
            seen["trades"] += 1
            return ()

        def note(self):
            self.seen["most"] = max(self.seen["most"], resident())
            Path(self.path).write_text(json.dumps(self.seen))

    @hookimpl
    def lab_strategies():
        return {"flooded": Flooded}
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads a process's memory from /proc")
@pytest.mark.behaviour("F4")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seconds", [3.0, pytest.param(60.0, marks=pytest.mark.night)])
def test_five_thousand_messages_a_second_lose_nothing_fill_no_memory_and_shut_no_gate(
    seconds: float, lab: Any, site: Any
) -> None:
    site.install("their_flooded", FLOODED)
    figures = ["--rate", str(RATE), "--seconds", str(seconds), "--speed", str(SPEED)]
    with subprocess.Popen([sys.executable, str(VENUE), *figures], stdout=subprocess.PIPE, text=True) as venue:
        try:
            assert venue.stdout is not None
            address = f"127.0.0.1:{int(venue.stdout.readline())}"
            sets = [f"bitunix.rest_url=http://{address}", f"bitunix.ws_url=ws://{address}/public/", "bitunix.depth=0"]
            sets.append(f"flooded.path={lab.folder / 'seen.json'}")
            minutes = (seconds + 3.5) * SPEED / 60
            result = lab.process(
                "run", "--provider", "bitunix", "--strategy", "flooded", "--gate", "none", "--reporter", "none",
                "--speed", str(SPEED), "--minutes", f"{minutes:.2f}",
                *(word for one in sets for word in ("--set", one)), env=lab.see(site), timeout_s=seconds + 60.0,
            )  # fmt: skip
        finally:
            venue.kill()
    assert result.code == 0, result.err
    seen, report = json.loads((lab.folder / "seen.json").read_text()), lab.run().report()
    counters = report["counters"]
    assert seen["last"] + seen["trade"] > 0.95 * RATE * seconds, "the venue kept its rate"
    accounted = seen["quotes"] + counters["conflated_quotes"]
    assert seen["last"] <= accounted + seen["first"] - 1 <= seen["last"] + 1
    assert counters["conflated_quotes"] > 0.5 * seen["last"], "a newer quote took the place of the one before"
    assert (seen["lost"], seen["trades"], counters["malformed"]) == (0, seen["trade"], 0)
    opens = [open_ns for open_ns, _ in seen["candles"]]
    assert opens == [opens[0] + minute * MINUTE_NS for minute in range(len(opens))]
    assert len(opens) >= max(1, seconds * SPEED // 60)
    assert {status for _, status in seen["candles"]} == {"final"}
    closing = len(opens) % 2  # what is still held at the end is sold
    assert report["orders"] == report["fills"] == len(opens) + closing
    assert seen["most"] - seen["before"] <= 32 * MIB
    gate = [body[1] for _, _, body in lab.run().rows("trading_state")]
    assert gate[-1] == [], "once open it stayed open"
    assert all(reasons for reasons in gate[:-1])
    assert not [body for _, _, body in lab.run().rows("notice") if body[1] == "feed" and "suspect" in str(body[2])]
