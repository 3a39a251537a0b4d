"""Exchange the layers of a Keras model for those here, and back.

    from custom_layers.convert import to_custom, to_keras

    ours = to_custom(model)      # each Dense, LSTM, ... of Keras becomes the one of custom_layers
    theirs = to_keras(ours)

The new model has the weights of the old one and computes the same. It goes by configs: wherever a
class that has a twin is named in one, be it the layer's own, or inside a wrapper (`Bidirectional`,
`TimeDistributed`, `RNN(cell)`, `StackedRNNCells`), a nested model or a regularizer, its twin is
named instead. Layers without a twin (and classes derived from one that has) are copied as they are.
"""

import inspect
import warnings

import keras

from custom_layers.private_apis import layers_inside, parts_of


def twins():
    """{class of Keras: class here} for all layers and regularizers of the same name."""
    theirs = {
        cls.__name__: cls
        for space in (keras.layers, keras.regularizers)
        for cls in vars(space).values()
        if isinstance(cls, type)
    }
    return {
        theirs[ours.__name__]: ours
        for ours in keras.saving.get_custom_objects().values()
        if getattr(ours, "__module__", "").startswith("custom_layers.") and ours.__name__ in theirs
    }


def to_custom_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of a layer, without its weights, made of the classes here as far as there are any.

    A `clone_function` for `keras.models.clone_model`.

    Raises:
        TypeError: the layer uses LoRA or quantization, which its twin does not have.
    """
    return _exchange(layer, twins())


def to_keras_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of a layer, without its weights, made of Keras's classes as far as there are any.

    A `clone_function` for `keras.models.clone_model`.
    """
    return _exchange(layer, {ours: theirs for theirs, ours in twins().items()})


def to_custom(model: keras.Model) -> keras.Model:
    """The same model out of the layers here.

    Args:
        model: a functional or sequential `keras.Model`, which may contain other models.

    Returns:
        A new model with the same layer names, and with the weights copied. Layers that were shared
        are shared, and what was frozen is frozen. If `model` was compiled, so is the new one, with
        a fresh optimizer: momenta and step counts start anew. Random layers start from their seed.

    Raises:
        ValueError: the model is neither functional nor sequential; or a layer inside a wrapper is
            used outside of it too, which a copy cannot repeat.
        TypeError: a layer uses LoRA or quantization.
    """
    return _clone(model, to_custom_layer)


def to_keras(model: keras.Model) -> keras.Model:
    """The same model out of Keras's layers; those that Keras does not have stay. See `to_custom`.

    For whoever is to load the model without this package.
    """
    return _clone(model, to_keras_layer)


def _clone(model, clone_function):
    clone = keras.models.clone_model(model, clone_function=clone_function, recursive=True)
    clone.set_weights(model.get_weights())
    # What a part of a layer is frozen to, or a single weight, no config says.
    for old, new in _pairs(model, clone):
        new.trainable = old.trainable
    for old, new in zip(model.weights, clone.weights, strict=True):
        new.trainable = old.trainable
    return clone


def _pairs(old, new):
    """A layer and its copy, then those inside of them; inside of attention, those of one name."""
    yield old, new
    olds, news = (parts_of(layer) for layer in (old, new))
    if len(olds) != len(news):
        named = {layer.name: layer for layer in news}
        olds = [layer for layer in olds if layer.name in named]
        news = [named[layer.name] for layer in olds]
    for pair in zip(olds, news, strict=True):
        yield from _pairs(*pair)


def _exchange(layer, table):
    parts = layers_inside(layer) if isinstance(layer, keras.layers.Layer) else []
    for part in parts:
        lora = getattr(part, "lora_enabled", False)
        if type(part) in table and (part.quantization_mode or lora):
            why = "uses LoRA" if lora else f"is quantized ({part.quantization_mode})"
            raise TypeError(
                f"The layer {part.name!r} {why}, which {type(part).__name__} of custom_layers does "
                "not. Convert the model before."
            )
    names = {_names(old): _names(new) for old, new in table.items()}
    with warnings.catch_warnings():  # of lambdas, whose code is not used
        warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
        config = layer.get_config()
    config = _with_functions(config, {part.name: part for part in parts})
    return table.get(type(layer), type(layer)).from_config(_rename(config, names))


def _names(cls):
    """(module, class_name, registered_name) as configs have them."""
    if cls.__module__.startswith("keras."):
        of_layers = not issubclass(cls, keras.regularizers.Regularizer)
        space = keras.layers if of_layers else keras.regularizers
        name = cls.__name__
        if not hasattr(space, name):  # GroupedQueryAttention is public under another name
            name = next(name for name, value in vars(space).items() if value is cls)
        return f"keras.{'layers' if of_layers else 'regularizers'}", name, None
    return cls.__module__, cls.__name__, keras.saving.get_registered_name(cls)


def _with_functions(config, parts):
    """The config with functions of the user's own themselves, at any depth, instead of a code.

    Keras cannot make them of their code where they are lambdas or not registered.

    Args:
        parts: {name: layer} of all layers that the config may have inside.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(_with_functions(entry, parts) for entry in config)
    if not isinstance(config, dict):
        return config
    part = parts.get(config["name"]) if isinstance(config.get("name"), str) else None
    result = {}
    for key, value in config.items():
        attribute = getattr(part, key, None)
        own = inspect.isfunction(attribute) and not attribute.__module__.startswith("keras.")
        result[key] = attribute if own else _with_functions(value, parts)
    return result


def _rename(config, names):
    """The config with each class replaced, at any depth."""
    if isinstance(config, (list, tuple)):
        return type(config)(_rename(entry, names) for entry in config)
    if not isinstance(config, dict):
        return config
    config = {key: _rename(value, names) for key, value in config.items()}
    old = tuple(config.get(key) for key in ("module", "class_name", "registered_name"))
    if "config" in config and old in names:
        new = zip(("module", "class_name", "registered_name"), names[old], strict=True)
        config.update(new)
    return config
