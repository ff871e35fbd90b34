"""Who does the work: rollout, reward and learner workers, and the weights between them."""
