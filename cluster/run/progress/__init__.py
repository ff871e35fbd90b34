"""How a run goes: its counters, the time it takes, what it logs and shows, and its summary."""
