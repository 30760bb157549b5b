"""The operation types that ship with Fieldpost. The core does not know them: they come in by entry points."""
