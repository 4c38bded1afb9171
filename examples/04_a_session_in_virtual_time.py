"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 04  A live session in virtual time, twice                                    │
│                                                                              │
│ The point: with `speed = max` the Bitunix client talks HTTP and WebSocket to │
│ the local venue over sockets in memory, and idle time is jumped over. A seed │
│ decides everything: two sessions write the same bytes. The head is the hash  │
│ of the newest row of the journal, and through the chain of every row.        │
│                                                                              │
│ Run it:   python 04_a_session_in_virtual_time.py [MINUTES]                   │
└──────────────────────────────────────────────────────────────────────────────┘
"""

import sys
import time
from pathlib import Path

from lab.composition.assembly import assemble, layers_for
from lab.journal.reader import JournalReader
from lab.live.launch import run_live
from lab.live.signals import Interrupts
from lab.plugins.discovery import Registry


def head_of(directory: Path) -> str:
    """Return the hash of the newest row of a run's journal."""
    reader = JournalReader.open(directory)
    try:
        *_, (*_, newest) = reader.rows()
    finally:
        reader.close()
    return newest.hex()


def session(minutes: str) -> tuple[str, int]:
    """Run one session and return its head hash and how many orders filled."""
    sets = ["bitunix.venue=local", "bitunix.faults=reset@20", "sma.fast=2", "sma.slow=5", "sma.atr_min_percent=0"]
    options = {"run.speed": "max", "run.minutes": minutes, "run.seed": 7, "run.reporters": []}
    finished = run_live(
        assemble(Registry(), layers_for(None, sets, options), {}), wall_ns=time.time_ns, interrupts=Interrupts()
    )
    assert finished.directory is not None, "only run.no_write leaves no directory"
    return head_of(finished.directory), finished.report.fills


def main() -> None:
    minutes = sys.argv[1] if len(sys.argv) > 1 else "5"
    began = time.perf_counter()
    (first, fills), (second, _) = session(minutes), session(minutes)
    print(f"first   {first}\nsecond  {second}")
    print(f"{fills} fills each; 2 x {minutes} minutes in {time.perf_counter() - began:.1f} s of real time")
    if first != second:
        sys.exit("the two sessions differ: something in them is not decided by the seed")


if __name__ == "__main__":
    main()
