"""The product: what happened, in order, hash-chained; the tape of inputs; and what follows from them."""
