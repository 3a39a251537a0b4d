"""Builders of data sets that tensorflow-datasets does not have."""
