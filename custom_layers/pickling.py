"""pickling: a pickled model brings this package along.

Keras pickles a model as a file of its own inside the pickle, and does not import what that file
names: a fresh process, such as a worker of joblib, would not know the layers. Here the pickle names
a function of this package, so that the package is imported first.
"""

import copyreg

import keras

from custom_layers.private_apis import Functional


def unpickle(load, *arguments):
    """`load(*arguments)`, what Keras pickles a model as."""
    return load(*arguments)


def reduce(model):
    """Keras's `model.__reduce__()`, through `unpickle` where the model has anything from here."""
    load, arguments = model.__reduce__()
    if "custom_layers" in str(model.get_config()):
        return unpickle, (load, *arguments)
    return load, arguments


# Models of a class of the user's own are found by the module of that class.
copyreg.pickle(keras.Sequential, reduce)
copyreg.pickle(Functional, reduce)
