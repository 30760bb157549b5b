"""The ledger: the one door through which rows are written, and what can be read back from it.

`record` writes, `unit` opens the transaction to write in, `history` reads back what a row was.
"""
