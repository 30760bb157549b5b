"""How Fieldpost is served: the application, and gunicorn's worker."""
