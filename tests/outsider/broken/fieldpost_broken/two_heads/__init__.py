"""Two chains of migrations where one is expected."""
