"""Put other classes where Keras's tests look for Keras's, and count what is built."""

import collections
import importlib
import sys

# Where tests and users look for layers and regularizers. Keras's inner workings keep their own:
# nobody's program changes those.
NAMESPACES = [
    f"{top}.{space}"
    for top in ("keras", "keras.src", "keras._tf_keras.keras")
    for space in ("layers", "regularizers")
]


class Swap:
    """Replaces classes by others, wherever a name refers to them.

    Names are found by identity, so that aliases such as `MaxPool2D` follow.

    Args:
        table: {class of Keras: its replacement}. To be taken before the first swap.
    """

    def __init__(self, table):
        self.table = table
        self.built = collections.Counter()
        for pair in table.items():
            for cls in pair:
                self._count(cls)
        for name in NAMESPACES:
            self.rebind(importlib.import_module(name))
        for theirs in table:  # some tests import `keras.src.layers.activations.relu` itself
            self.rebind(sys.modules[theirs.__module__])

    def rebind(self, module):
        """Let all names of a module that refer to a replaced class refer to its replacement."""
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and value in self.table:
                setattr(module, name, self.table[value])

    def _count(self, cls):
        plain = cls.__new__

        def new(kind, *args, **kwargs):
            if kind is cls:
                self.built[cls] += 1
            return plain(kind) if plain is object.__new__ else plain(kind, *args, **kwargs)

        cls.__new__ = staticmethod(new)

    def report(self):
        """{name: how often (the replacement, Keras's class) was built}."""
        return {
            theirs.__name__: (self.built[ours], self.built[theirs])
            for theirs, ours in self.table.items()
        }
