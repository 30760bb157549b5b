"""The heart: a batch of operations in, each applied exactly once, one answer for each.

    bytes      -> bounded, clean JSON                                (app.http.body)
    items      -> each refused, or routed to a handler               (items)
               -> the core's keys, then the handler's schema         (prepare, keys)
    operations -> the rows that they need, locked in one order       (loading, needs, locks)
               -> recalled: those that were applied before           (app.core.ledger.history)
               -> each in order: remembered? rows, policy, conflict, (judge, replay, targets,
                  apply                                               conflicts, context)
               -> rows and ledger written in bulk, committed         (app.core.ledger.record)
    answers    -> one entry each: success, error or conflict         (answers)

`batch` conducts. A batch that raises is repeated with a savepoint around each operation, so that only the guilty one
fails (`isolation`). What the operations of one attempt share is in `attempt`, its rows in `rows`.
"""
