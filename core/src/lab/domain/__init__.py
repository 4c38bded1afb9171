"""The domain: instruments, market data, orders, fills and money.

Pure: attrs, msgspec's structs and the standard library only. Nothing here reads a clock, does I/O or
draws a random number.
"""
