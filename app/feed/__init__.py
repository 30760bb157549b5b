"""The change feed: what a device has to hear of, a page at a time (contract, section 6)."""
