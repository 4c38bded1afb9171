"""The output of the terminal reporter, and the texts that its live view and its plain lines share."""

from typing import Any, TextIO

from lab.ports import Status
from lab.records.run import Totals

from lab_reporters import text
from lab_reporters.decoding import log


class Output:
    """A text stream that never raises: signs it cannot encode become ``?``, what nobody reads is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """Return whether a terminal shows the stream."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor. Raises ``OSError`` where it has none."""
        return self._stream.fileno()

    def write(self, said: str) -> int:
        """Write text, as far as it can be."""
        if not self._gone:
            self._try(lambda: self._stream.write(said.encode(self.encoding, "replace").decode(self.encoding)))
        return len(said)

    def flush(self) -> None:
        """Flush the stream."""
        if not self._gone:
            self._try(self._stream.flush)

    def _try(self, act: Any) -> None:
        try:
            act()
        except BlockingIOError:
            log.debug("output is full: some text was left out")
        except (OSError, ValueError) as error:  # the reader has closed the pipe, or somebody has closed the stream
            self._gone = True
            log.debug("output is gone, nothing is shown any more: %s", error)


def counts_text(totals: Totals, separator: str) -> str:
    """Return what the run has counted so far."""
    shown = (
        ("candles", totals.candles),
        ("quotes", totals.quotes),
        ("decisions", totals.decisions),
        ("orders", totals.orders),
        ("fills", totals.fills),
        ("trades", totals.trades),
        ("refusals", totals.refusals),
    )
    return separator.join(f"{name} {number:,}" for name, number in shown)


def prices_text(status: Status) -> str:
    """Return the price; of several symbols each one's."""
    if len(status.prices) < 2:
        return text.price(status.price)
    return ", ".join(f"{text.clean(symbol)} {text.price(price)}" for symbol, price in status.prices.items())


def positions_text(status: Status) -> str:
    """Return what is held, ``flat`` where nothing is."""
    several = len({one.strategy for one in status.positions}) > 1
    held = [
        f"{f'{one.strategy} ' if several else ''}{text.exact(one.quantity)} {one.symbol}"
        f" @ {text.price(float(one.price))}"
        for one in status.positions
        if one.quantity
    ]
    return ", ".join(held) or "flat"
