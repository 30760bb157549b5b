"""What administrators do, whichever door they come through: users, form templates, inspections (section 8)."""
