"""Commands: train, evaluate and export the recipes. They are run, not installed."""
