"""Parts of every request: bodies, deadlines, errors, other origins, logs and metrics."""
