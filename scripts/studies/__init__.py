"""Figures over many runs: seeds, folds, memory, formats."""
