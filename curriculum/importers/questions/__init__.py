"""Sets that ship their own questions and answers."""
