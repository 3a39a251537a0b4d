"""whole: a model with what belongs to it: from the numbers of a file to the names of classes.

    Columns   the numbers of a table's row, as they are -> scaled, filled in, categories spread
    Classes   probabilities -> the same; it holds the names of the classes

Both have no weights. What they know is in their configuration, so a saved model has it too.
"""

import keras

from custom_layers.base import Layer


@keras.saving.register_keras_serializable(package="models")
class Classes(Layer):
    """y = x, the probabilities (B, K) of K classes with these names."""

    def __init__(self, names, **kwargs):
        super().__init__(**kwargs)
        self.names = list(names)

    def call(self, x):
        return x + 0.0  # an operation of its own, as outputs of exported models need one

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="models")
class Columns(Layer):
    """The columns of a table (B, C) as features (B, F).

        a number     (x - mean) / sqrt(variance), 0 where it is missing
        a category   1 at its own place, 0 elsewhere; all 0 where it is missing or was never seen

    Args:
        columns: of each, its "name" and either "mean" and "variance", or "categories", which the
            numbers 0, 1, ... of the column stand for. NaN is missing.
    """

    def __init__(self, columns, **kwargs):
        super().__init__(**kwargs)
        self.columns = [dict(column) for column in columns]

    @property
    def width(self):
        """F, how many features the columns become."""
        return sum(len(column.get("categories", " ")) for column in self.columns)

    def call(self, x):
        features = []
        for i, column in enumerate(self.columns):
            value = x[:, i : i + 1]
            if "categories" in column:
                places = keras.ops.arange(len(column["categories"]), dtype=value.dtype)
                features.append(keras.ops.cast(value == places, self.compute_dtype))
            else:
                spread = max(column["variance"], 1e-7) ** 0.5
                scaled = (value - column["mean"]) / spread
                features.append(keras.ops.where(keras.ops.isnan(value), 0.0, scaled))
        return keras.ops.concatenate(features, 1)

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.width


def of_images(model, names):
    """A classifier of images with values in 0..255, from one of images in [0, 1]."""
    inputs = keras.Input(model.input_shape[1:], name="image")
    x = keras.layers.Rescaling(1 / 255, name="rescaled")(inputs)
    outputs = Classes(names, name="classes")(model(x))
    return keras.Model(inputs, outputs, name="whole")


def of_rows(model, columns, names):
    """A classifier of rows of a table, from one of their features."""
    inputs = keras.Input((len(columns),), name="columns")
    x = Columns(columns, name="features")(inputs)
    outputs = Classes(names, name="classes")(model(x))
    return keras.Model(inputs, outputs, name="whole")


def with_names(model, names):
    """A classifier that also holds the names of its classes."""
    outputs = Classes(names, name="classes")(model.output)
    return keras.Model(model.input, outputs, name="whole")
