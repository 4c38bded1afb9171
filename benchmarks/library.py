"""What a trial of `lab.backtest` costs beside its steps and its journal: ``python -m benchmarks.library``.

1,440 shipped candles, strategy sma, 1,000 trials over prices that were loaded once. The steps and the journal alone are
the loop of a backtest over the same batches into a journal in memory, with assembly, report and result left out. CPU
time; the median of five stretches of 200 trials, in turn.
"""

import resource
import statistics
import time
from collections.abc import Callable

import lab
from lab.backtesting.runner import prepare, run_through
from lab.journal.store import Journal
from lab.research.offered import Offered
from lab.research.prices import Prices

_STRETCHES = 5
_TRIALS = 200


def main() -> None:
    """Measure and print."""
    prices = lab.load("btcusd-1m", symbol="BTCUSD")
    pairs = [(_timed(lambda: _trial(prices)), _steps(prices)) for _ in range(2)]  # what is done once is done by then
    begun_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = [(_timed(lambda: _trial(prices)), _steps(prices)) for _ in range(_STRETCHES)]
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun_kib) / 1024
    ratio = statistics.median(one / other for one, other in pairs)
    a_trial, its_steps = (statistics.median(column) / _TRIALS * 1e3 for column in zip(*pairs, strict=True))
    print(f"a trial {a_trial:.2f} ms, its steps and journal {its_steps:.2f} ms: {ratio:.2f} times; figure ≤ 1.5")
    print(f"memory grew by {grown_mib:.1f} MiB at most over {_STRETCHES * _TRIALS} trials and as many bare ones")


def _timed(run: Callable[[], object]) -> float:
    begun = time.process_time()
    for _ in range(_TRIALS):
        run()
    return time.process_time() - begun


def _trial(prices: Prices) -> None:
    result = lab.backtest("sma", prices)
    assert result.report.candles == 1440


def _steps(prices: Prices) -> float:
    """Return the CPU seconds of the steps and the journal alone, of as many trials."""
    took = 0.0
    for _ in range(_TRIALS):
        offered = Offered(None, None)
        offered.run(provider=prices.part.offer.name, symbol=prices.symbol, interval=prices.interval, no_write=True)
        offered.strategies("sma")
        batch = prepare(offered.assembly(prices.part), data=prices.data)
        begun = time.process_time()
        journal = Journal(None, durable=False, labels={})
        journal.append_record(batch.started, 0, 0)
        journal.append(batch.engine.begin(), 0, 0)
        run_through(batch, journal)
        journal.commit()
        journal.close()
        took += time.process_time() - begun
    return took


if __name__ == "__main__":
    main()
