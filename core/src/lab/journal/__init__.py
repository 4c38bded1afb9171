"""The journal of events, hash-chained; the tape of inputs; and the report made from them."""
