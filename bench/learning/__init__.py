"""What a setting does to learning, over seeds: `python -m bench.learning NAME FOLDER`. See `__main__`."""
