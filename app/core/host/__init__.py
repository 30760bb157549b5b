"""Everything about plugins: finding them, checking them, mounting them, and what their code may not do."""
