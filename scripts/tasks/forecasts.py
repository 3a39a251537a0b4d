"""forecasts: the next values of a series, beside two forecasts that learn nothing."""

import numpy as np
from matplotlib.figure import Figure


def naive_forecast(values, begins, horizon):
    """The last known value, for all of the `horizon`."""
    return np.repeat(values[begins - 1][:, None], horizon, axis=1)


def seasonal_forecast(values, begins, horizon, season):
    """The values one season earlier, or as many seasons as it takes for them to be known."""
    ahead = np.arange(horizon)
    return values[begins[:, None] + ahead - season * (ahead // season + 1)]


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


def pictures(model, data, shown=250):
    """Forecasts beside the truth, and the mean absolute error by how far they look ahead."""
    ours = model.predict(data.test, verbose=0)
    ahead = np.arange(data.horizon)
    truth = data.values[data.begins[:, None] + ahead]
    picture = Figure(figsize=(14, 7), layout="constrained")
    picture.suptitle(f"{data.name}, test")
    top, bottom = picture.subplots(2, 1)
    begins = data.begins[:shown]
    top.plot(begins, data.values[begins], color="black", lw=1, label="truth")
    for step, color in ((0, "tab:green"), (data.horizon - 1, "tab:red")):
        name = f"ours, {step + 1} ahead"
        known = begins + step <= begins[-1]  # up to where the truth is drawn
        mine = ours[: len(begins), step][known]
        top.plot((begins + step)[known], mine, color=color, lw=1, label=name)
    top.set(xlabel="time (steps)", ylabel="value")
    for name, values in {"ours": ours, **rivals(data)}.items():
        bottom.plot(ahead + 1, np.abs(values - truth).mean(0), "o-", ms=3, label=name)
    bottom.set(xlabel="steps ahead", ylabel="mean absolute error (of the value)", ylim=(0, None))
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))  # beside, where it covers nothing
    return {"forecast.png": picture}
