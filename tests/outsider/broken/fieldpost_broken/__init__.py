"""Everything that can be wrong with a plugin at once, for the tests of what Fieldpost says about it."""
