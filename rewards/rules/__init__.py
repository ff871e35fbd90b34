"""Ready-made rules, one file each. Recipes name them `rewards.own:stage_order` and `rewards.own:length_guard`."""
