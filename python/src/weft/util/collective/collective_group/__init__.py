"""Groups: what a backend implements."""
