"""The tfds builder `influencers`."""
