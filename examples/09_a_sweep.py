"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 09  Try many settings, and doubt the best                                    │
│                                                                              │
│ The point: `lab.sweep` runs a backtest for each setting over prices that     │
│ were read once. Beside the best stands what speaks against it, and a walk    │
│ forward says what the choice would have been worth.                          │
│                                                                              │
│ Run it:   pip install 'lab-trading[sweep]'; python 09_a_sweep.py             │
└──────────────────────────────────────────────────────────────────────────────┘
"""

import lab


def main() -> None:
    prices = lab.load("btcusd-1m", symbol="BTCUSD")
    space = {"fast": (3, 9, 2), "slow": (20, 40, 10)}

    found = lab.sweep("sma", prices, space, metric="pnl")
    assert found.best is not None
    print(f"{len(found.trials)} settings, the best: {dict(found.best.settings)}, profit {found.best.value:.2f}")
    for warning in found.warnings:
        print(f"  {warning}")

    walked = lab.walkforward("sma", prices, space, metric="pnl", in_sample="6h", out_of_sample="3h")
    print(f"walking forward over {len(walked.windows)} windows:")
    for warning in walked.warnings:
        print(f"  {warning}")


if __name__ == "__main__":
    main()
