"""Other people's engines at the same work: ``python -m benchmarks.peer_engines.NAME KIND FILE``, by their interpreters.

Nothing of lab is imported. Each prints one line of JSON: rows seen, closed round trips, fees, and the CPU seconds of
the run itself. ``KIND`` is what the file is: ``candles`` (SMA 10/30, at every crossing the other way), ``orders`` (in
and out in turn, an order every second candle) or ``quotes`` (the crossings of the minutes' last bids). Each engine is
set up as fast as its own documents know.
"""
