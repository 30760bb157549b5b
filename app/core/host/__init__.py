"""Everything about plugins: finding, checking and mounting them, and the limits of their code."""
