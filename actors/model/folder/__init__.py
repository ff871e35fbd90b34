"""Whether a model folder can be trained, judged before anything starts: its files, its weights, its way to chat."""
