"""One measured run in a process of its own: ``python -m benchmarks.case NAME JSON`` prints one line of JSON."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final


def data(*, folder: str, candles: list[int], quotes: int, orders: int) -> dict[str, Any]:
    """Write the data; return what to expect of it."""
    from benchmarks.data import write

    return {name: list(map(str, expected)) for name, expected in write(Path(folder), candles, quotes, orders).items()}


_PLACES: Final = {
    "candle": "engine_cases", "quote": "engine_cases", "orders": "engine_cases",
    "rows": "engine_cases",
    "latency": "live_cases", "flood": "live_cases", "bare": "live_cases",
}  # fmt: skip


def main(name: str, given: str) -> int:
    """Run one case and print what it returned."""
    run = data if name == "data" else getattr(import_module(f"benchmarks.{_PLACES[name]}"), name)
    print(json.dumps(run(**json.loads(given))))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
