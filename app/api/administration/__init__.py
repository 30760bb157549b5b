"""The administration of inspections and form templates, through REST and the command line (contract, section 8)."""
