"""Whole sessions in virtual time, with faults drawn from a seed, checked by the invariants: ``lab simulate``.

`faults` are those of the session itself, `busy` is the strategy that trades, `lives` runs a session and kills it,
`invariants` checks what it left, `trial` is one seed from its faults to its verdict, `seeds` runs many.
"""
