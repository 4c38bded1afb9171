"""What the vectorised peers compute at once: where to be after each candle. NumPy and pandas only."""

# mypy: disable-error-code="import-untyped,import-not-found,misc,unused-ignore"
from typing import Any, Final

FAST: Final = 10
SLOW: Final = 30
FEE: Final = 0.0006
QUANTITY: Final = 0.001
EQUITY: Final = 100_000
LONG: Final = 1.0
SHORT: Final = -1.0
FLAT: Final = 2.0
STAY: Final = 0.0


def wanted(kind: str, closes: Any) -> Any:
    """Return an array of `LONG`, `SHORT`, `FLAT` and `STAY` for ``candles`` (crossings) or ``orders`` (in and out)."""
    import numpy as np
    import pandas as pd

    found = np.zeros(len(closes))
    if kind == "orders":
        found[0::4], found[2::4] = LONG, FLAT
        return found
    series = pd.Series(np.asarray(closes))
    above = series.rolling(FAST).mean().to_numpy() > series.rolling(SLOW).mean().to_numpy()
    found[1:] = above[1:].astype(float) - above[:-1]
    found[:SLOW] = STAY  # the first side ever is no crossing
    return found
