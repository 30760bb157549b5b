"""The change feed: everything that has changed for a device, a page at a time (contract, section 6)."""
