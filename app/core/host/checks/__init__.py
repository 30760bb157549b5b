"""What can be wrong with a handler, a plugin or a model, and how to put it right: one module for each of them.

The checks run at every start (`app.core.host.load`). A function named `…_findings` looks at a thing by itself, one
named `…_clashes` looks for what is already there.
"""
