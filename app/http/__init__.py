"""What surrounds every request: bodies, deadlines, other origins, logs and metrics."""
