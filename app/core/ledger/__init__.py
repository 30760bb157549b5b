"""The ledger: the one door through which rows are written, and the history that can be read back from it.

`record` writes, `unit` opens the transaction to write in, `history` reads back the former states of a row.
"""
