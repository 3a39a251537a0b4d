"""What is measured on a forecast: its error beside those of two forecasts that learn nothing."""

import numpy as np

from scripts.tasks import sequence_plots
from scripts.tasks.sequence_baselines import naive_forecast, seasonal_forecast


def rivals(data):
    """The forecasts `{name: (windows, horizon)}` of the test part that learn nothing."""
    return {
        "naive": naive_forecast(data.values, data.begins, data.horizon),
        "seasonal naive": seasonal_forecast(data.values, data.begins, data.horizon, data.season),
    }


def errors(data):
    """Mean absolute error of each rival."""
    truth = data.values[data.begins[:, None] + np.arange(data.horizon)]
    return {name: float(np.abs(values - truth).mean()) for name, values in rivals(data).items()}


def baseline(data):
    """The better rival: its name and its error."""
    return min(errors(data).items(), key=lambda item: item[1])


def measure(model, data):
    return {f"{name}_mae".replace(" ", "_"): error for name, error in errors(data).items()}


def pictures(model, data):
    ours = model.predict(data.test, verbose=0)
    return {"forecast.png": sequence_plots.forecast(data, ours, *rivals(data).values())}
