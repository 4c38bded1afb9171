"""hftbacktest: quotes as an array of depth events, and a Numba function that is given every one of them.

Numba can't keep the compiled function on disk here (it holds addresses), so each process compiles it anew.
"""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore,untyped-decorator"
import json
import sys
import time
from typing import Any, Final

import numpy as np
import polars as pl
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTC,
    LOCAL_EVENT,
    MARKET,
    SELL_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from numba import njit

from benchmarks.peer_engines.signals import FAST, FEE, QUANTITY, SLOW

_LATENCY_NS: Final = 200_000_000
_MINUTE_NS: Final = 60_000_000_000
_LONG_NS: Final = 10**18
_EQUAL: Final = 1e-6


def _events(path: str) -> Any:
    """Return the depth events of the quotes: the level that goes, where the price changes, then the one that comes."""
    columns = ["kind", "venue_ms", "bid", "bid_size", "ask", "ask_size"]
    data = pl.read_csv(path, columns=columns).filter(pl.col("kind") == "quote")
    count = len(data)
    times = data["venue_ms"].to_numpy() * 1_000_000
    events, kept = np.zeros(4 * count, event_dtype), np.ones(4 * count, bool)
    for place, (flag, side) in enumerate(((BUY_EVENT, "bid"), (SELL_EVENT, "ask"))):
        prices = data[side].to_numpy()
        gone, come = events[place::4], events[place + 2 :: 4]
        for each in (gone, come):
            each["ev"] = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT | flag
            each["exch_ts"] = each["local_ts"] = times
        gone["px"][1:] = prices[:-1]
        come["px"], come["qty"] = prices, data[f"{side}_size"].to_numpy()
        kept[place] = False
        kept[place::4][1:] = prices[1:] != prices[:-1]
    return events[kept]


@njit
def _trade(bot: Any, totals: Any) -> None:
    closes = np.zeros(SLOW)
    fast = slow = last = 0.0
    rows = minutes = minute = side = held = sent = 0
    while bot.wait_next_feed(False, _LONG_NS) == 2:
        rows += 1
        depth = bot.depth(0)
        now = bot.current_timestamp // _MINUTE_NS
        if now != minute:
            if minute:
                if minutes >= FAST:
                    fast -= closes[(minutes - FAST) % SLOW]
                place = minutes % SLOW
                slow += last - closes[place]
                fast += last
                closes[place] = last
                minutes += 1
                difference = fast * SLOW - slow * FAST
                if minutes >= SLOW and abs(difference) > _EQUAL:
                    way = 1 if difference > 0 else -1
                    if side != 0 and way != side:
                        quantity = 2 * QUANTITY if held else QUANTITY
                        sent += 1
                        if way > 0:
                            bot.submit_buy_order(0, sent, depth.best_ask, quantity, GTC, MARKET, False)
                        else:
                            bot.submit_sell_order(0, sent, depth.best_bid, quantity, GTC, MARKET, False)
                        held = way
                        bot.clear_inactive_orders(0)
                    side = way
            minute = now
        last = depth.best_bid
    state = bot.state_values(0)
    totals[0], totals[1], totals[2] = rows, state.num_trades, state.fee


def _once(events: Any) -> dict[str, Any]:
    began = time.process_time()
    asset = (
        BacktestAsset().data(events).linear_asset(1.0).constant_order_latency(_LATENCY_NS, 0)
        .no_partial_fill_exchange().risk_adverse_queue_model().trading_value_fee_model(0.0002, FEE)
        .tick_size(0.1).lot_size(QUANTITY).last_trades_capacity(0)
    )  # fmt: skip
    bot, totals = HashMapMarketDepthBacktest([asset]), np.zeros(3)
    _trade(bot, totals)
    bot.close()
    # What wait_next_feed begins with is the first quote, which it does not return for.
    rows, trades, fees = int(totals[0]) + 1, int(totals[1]) - 1, float(totals[2])
    return {"rows": rows, "trades": trades, "fees": fees, "run_s": time.process_time() - began}


def run(kind: str, path: str, again: str = "") -> dict[str, Any]:
    """Run it: orders fill 200 ms later at the quote of then. A second run in the process finds everything compiled."""
    assert kind == "quotes"
    events = _events(path)
    first = _once(events)
    return {**first, "again_s": _once(events)["run_s"]} if again else first


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
