"""How a run lives on Ray: recipe, run loop, ledger, evaluation, run folder, command line."""
