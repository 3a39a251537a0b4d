"""What is learned: objective, measure, baseline and pictures of each task."""
