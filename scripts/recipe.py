"""Recipe: what is trained on what, and what is measured."""

import dataclasses
import importlib
from collections.abc import Callable


def later(module, name, *arguments, **options):
    """The function `name` of a module that is imported when the function is called.

    It is called with `arguments` before the given ones, and with `options` too.
    """

    def call(*given, **more):
        function = getattr(importlib.import_module(module), name)
        return function(*arguments, *given, **options, **more)

    return call


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A task: data, model, what to minimize, what to report; then the default settings.

    about: one line for the table.
    data: `(batch_size, seed, data_dir, download_dir) -> data` with the tf.data pipelines `train`,
        `validation` and `test`, and whatever the other functions of the recipe look for.
    model: `(data, dropout, l1, l2, layers) -> keras.Model`.
    loss, metrics: as `keras.Model.compile` takes them.
    objective: `(data) -> arguments of compile` that depend on the data, such as a metric that must
        know the number of classes; they go before `loss` and `metrics`.
    callbacks: `(data, folder) -> callbacks` of the training, beside those that each run has.
    figure: the metric that the run is judged by.
    select: the logged value whose best epoch gives the weights that are kept, and `mode`, whether
        the best is the "min" or the "max".
    better: whether a "max" or a "min" of the figure is sought.
    measure: `(model, data) -> {name: figure on the test part}` beside what Keras measures.
    baseline: `(data) -> (its name, its figure on the test part)`: what is reached without learning
        layers.
    pictures: `(model, data) -> {file name: matplotlib figure}`, beside the curves.
    files: `(data) -> {file name: text}`: what else belongs to the run, such as a vocabulary.
    divisible: whether a batch can be divided among devices; a graph's nodes cannot.
    decay: whether the learning rate falls to 0 along a cosine, or stays.
    momentum: of Adam, the share of the old in its mean of gradients (beta_1).
    offline: whether the data come with a dependency, or are generated.
    """

    about: str
    data: Callable
    model: Callable
    loss: object
    metrics: tuple
    figure: str
    baseline: Callable
    pictures: Callable
    objective: Callable = lambda data: {}
    callbacks: Callable = lambda data, folder: []
    better: str = "max"
    measure: Callable = lambda model, data: {}
    files: Callable = lambda data: {}
    select: str = "val_loss"
    mode: str = "min"
    divisible: bool = True
    decay: bool = True
    offline: bool = False
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    momentum: float = 0.9
    dropout: float = 0.25
    l1: float = 0.0
    l2: float = 1e-4

    def beats(self, figure, rival):
        """Whether `figure` is the better one."""
        return figure < rival if self.better == "min" else figure > rival
