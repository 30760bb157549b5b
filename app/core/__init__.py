"""The small Flask core: plugins in, batches of operations applied exactly once, every change in the ledger."""
