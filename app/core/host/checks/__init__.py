"""Checks of handlers, plugins and models, one module for each, with the cures of everything that can be wrong.

They run at every start (`app.core.host.load`). A function named `…_findings` looks at a thing by itself; one named
`…_clashes` compares it with the others.
"""
