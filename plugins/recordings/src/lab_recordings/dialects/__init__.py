"""Files of candles in the form people have them: other separators, headers, dates, numbers, containers.

A dialect is taken only where the whole file agrees with it: each row is read in the same way, times ascend (or descend)
throughout, and each row is a candle. What a file cannot tell is refused with what settles it.
"""
