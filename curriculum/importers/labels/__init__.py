"""Sets whose labels say which findings a film shows."""
