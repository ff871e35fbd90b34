"""What tests of the learner share: groups to train on, and ranks in processes of their own."""
