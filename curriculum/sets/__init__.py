"""Task sets of any size: read once, checked, and mapped into memory; a task is built when it is asked for."""
