"""The heart: a batch of operations in, each applied exactly once, one answer for each.

    bytes      -> gate: bounded, clean JSON                      (app.gate)
    items      -> fingerprint, route to a handler, schema        (envelope, pipeline.prepare)
    operations -> load and lock their rows, one query a model    (rows)
               -> recall what was applied before, answer it      (app.ledger)
               -> for each in order: policy, conflict, apply     (pipeline, conflicts)
               -> write rows and ledger in bulk, commit          (app.ledger.record)
    outcomes   -> one entry each: success, error or conflict     (answers)

Whatever raises is repeated with a savepoint around each operation, so that only the guilty one fails.
"""
