"""How a recipe is trained: fit, checkpoints, devices, run folders."""
