"""What administrators do with inspections and form templates, through REST or the command line (section 8)."""
