"""Which versions of a run are worth keeping, and which one it exports."""
