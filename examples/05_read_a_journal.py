"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 05  Read a journal, and check its money                                      │
│                                                                              │
│ The point: the journal is enough. From fills, funding and liquidations,      │
│ without lab's engine or ledger, follows the same equity, to the last digit:  │
│ deposit - sum(signed quantity * price) - sum(fees) - funding                 │
│         - liquidation fees + insurance + quantity held * mark.               │
│                                                                              │
│ Run it:   python 05_read_a_journal.py [RUN DIRECTORY]   (runs/latest)        │
└──────────────────────────────────────────────────────────────────────────────┘
"""

import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

from lab.domain.events import Deposited, FundingPaid, LiquidationSettled, OrderFilled
from lab.errors import JournalError
from lab.journal.reader import JournalReader


def main() -> None:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/latest")
    try:
        reader = JournalReader.open(directory)
    except JournalError as error:
        sys.exit(f"{error}; `lab backtest btcusd-1m` makes one")

    cash: defaultdict[str, Decimal] = defaultdict(Decimal)
    held: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for deposit in reader.events(Deposited):
        cash[deposit.strategy] += deposit.amount
    for filled in reader.events(OrderFilled):
        fill = filled.fill
        signed = fill.quantity * (1 if filled.side == "buy" else -1)
        cash[filled.strategy] -= signed * fill.price + fill.fee
        held[filled.strategy, filled.symbol] += signed
    for funding in reader.events(FundingPaid):
        cash[funding.strategy] -= funding.amount
    for settled in reader.events(LiquidationSettled):
        cash[settled.strategy] += settled.insurance - settled.fee
    ended = reader.run_ended()
    rows = reader.count()
    reader.close()
    if ended is None:
        sys.exit(f"{directory}: the run has no end, so nothing to compare with; `lab report` says what is there")

    print(f"{directory}: {rows} rows, reason {ended.reason}")
    differing = 0
    for strategy, book in ended.books.items():
        marks = {symbol: position.mark for symbol, position in book.positions.items()}
        worth = sum((q * marks[symbol] for (owner, symbol), q in held.items() if owner == strategy and q), Decimal(0))
        mine, theirs = cash[strategy] + worth, book.equity
        differing += mine != theirs
        verdict = "equal" if mine == theirs else "DIFFERENT"
        print(f"{strategy}: recomputed {mine.normalize():f}, journal {theirs}: {verdict}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
