"""The heart: a batch of operations in, each applied exactly once, one answer for each.

    bytes      -> bounded, clean JSON                            (app.http.body)
    items      -> fingerprint, route to a handler, schema        (items, prepare)
    operations -> load and lock their rows, one query a model    (rows)
               -> recall what was applied before, answer it      (app.core.ledger)
               -> for each in order: policy, conflict, apply     (judge, conflicts)
               -> write rows and ledger in bulk, commit          (app.core.ledger.record)
    outcomes   -> one entry each: success, error or conflict     (answers)

A batch that raises is repeated with a savepoint around each operation, so that only the guilty one fails.
"""
