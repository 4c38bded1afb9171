"""Days of virtual time in one session: memory stays flat, files grow with what happens, and all of it is proved."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

GAUGE = '''
"""A strategy that never trades, and writes each hour of the market how much memory its process takes."""
import os
from pathlib import Path

from attrs import define
from lab import Strategy, hookimpl

PAGE = os.sysconf("SC_PAGE_SIZE")

@define(kw_only=True)
class Gauge(Strategy):
    into: str = ""

    def on_candle(self, candle, view):
        if candle.open_ns % 3_600_000_000_000 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            files = len(os.listdir("/proc/self/fd"))
            with open(self.into, "a") as file:
                file.write(f"{candle.open_ns // 1_000_000_000} {pages * PAGE} {files}\\n")
        return []

@hookimpl
def lab_strategies():
    return {"gauge": Gauge}
'''
WARM_H = 6
MIB = 1 << 20
FAULTS = "reset=600@60,malformed=0.001,late=0.001:2"
SESSION = (
    "run", "--provider", "bitunix", "--strategy", "sma", "--strategy", "slow=sma", "--strategy", "gauge",
    "--speed", "max", "--reporter", "jsonl", "--reporter", "html", "--gate", "none",
    "--set", "bitunix.venue=local", "--set", "bitunix.depth=0", "--set", "bitunix.trades=false",
    "--set", f"bitunix.faults={FAULTS}",
)  # fmt: skip


@pytest.mark.night
@pytest.mark.behaviour("S10")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("days", [1, 7])
def test_days_in_one_session_take_no_more_memory_and_are_proved(lab: Any, site: Any, days: int) -> None:
    """Sockets are reset every ten minutes, and three strategies run, two of which trade."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    site.install("their_gauge", GAUGE)
    gauge = lab.folder / "gauge"
    command = lab.command(*SESSION, "--set", f"gauge.into={gauge}", "--minutes", str(days * 1440))
    done = subprocess.run(
        command, cwd=lab.folder, env={**lab.environment, **lab.see(site)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    samples = [tuple(map(int, line.split())) for line in gauge.read_text(encoding="ascii").splitlines()]
    assert len(samples) >= 24 * days - 1
    assert all(after[0] - before[0] == 3600 for before, after in pairwise(samples))
    warm = samples[WARM_H:]
    grown_a_day = (max(size for _, size, _ in warm[-6:]) - warm[0][1]) / (len(warm) / 24) / MIB
    files = {count for _, _, count in warm}
    folder = lab.run().folder
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    report = lab.run().report()
    print(f"{days} days: {warm[0][1] / MIB:.1f} MiB after {WARM_H} h, {grown_a_day:+.2f} MiB a day, files {files}, "
          f"{report['fills']} fills, sizes {json.dumps(sizes)}")  # fmt: skip
    assert report["status"] == "completed"
    assert grown_a_day <= (1.0 if days > 1 else 4.0)
    assert max(files) - min(files) <= 4
    assert sum(sizes.values()) <= days * 64 * MIB
    assert sum(size for name, size in sizes.items() if name.startswith("events")) <= 6 * 10 * MIB
    assert report["fills"] >= 5 * days
    assert lab("verify", env=lab.see(site)).code == 0
    assert lab("audit").code == 0
