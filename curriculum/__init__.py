"""What is asked, and when: tasks, task sets, importers, stages, the sampler. Needs neither Ray nor torch."""
