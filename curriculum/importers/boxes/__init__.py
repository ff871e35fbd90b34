"""Sets that mark on the film where something is."""
