"""Parts whose shape may still change."""
