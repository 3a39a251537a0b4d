"""Recipe: what is trained on what, and what is measured."""

import dataclasses
import importlib
from collections.abc import Callable

from scripts.settings import Hyperparameters
from scripts.training.command_line import InputError


def lazy(module, name, *arguments, **options):
    """The function `name` of a module that is imported when the function is called.

    It is called with `arguments` before the given ones, and with `options` too.
    """

    def call(*given, **more):
        function = getattr(importlib.import_module(module), name)
        return function(*arguments, *given, **options, **more)

    return call


def of_task(module, *names, **others):
    """Fields of a recipe: functions of `scripts.tasks.module`, `others` as `field=function`."""
    functions = {**{name: name for name in names}, **others}
    return {field: lazy(f"scripts.tasks.{module}", name) for field, name in functions.items()}


def with_shape(name, **fixed):
    """The function `name` of `models.name`, given the shape of the data."""
    make = lazy(f"models.{name}", name, **fixed)
    return lambda data, **options: make(data.shape, **options)


def with_classes(name, **fixed):
    """The function `name` of `models.name`, given the shape and the classes of the data."""
    make = lazy(f"models.{name}", name, **fixed)
    return lambda data, **options: make(data.shape, len(data.classes), **options)


@dataclasses.dataclass(frozen=True)
class Data:
    """The data set of a recipe, and the others that its pipeline and its model take as well.

    name: of the data set.
    load: `(name, *, batch_size, seed, data_dir, download_dir, ...) -> data` with the tf.data
        pipelines `train`, `validation` and `test`, and whatever else the recipe uses.
    offline: `{name: further options of load}`, for the data sets that come with a dependency or
        are generated.
    tfds: the same, for those that are downloaded.
    own: `{scheme: (loader, names of the settings that it takes)}`, for the user's own files.
    """

    name: str
    load: Callable
    offline: dict[str, dict]
    tfds: dict[str, dict]
    own: dict[str, tuple] = dataclasses.field(default_factory=dict)

    def __call__(self, name=None, *, like=None, **settings):
        """The data of this name, or of the recipe's own data set.

        Args:
            name: of the data set, or `SCHEME:PATH` for the user's own files.
            like: for own files, what a trained model knows: `{"classes": ...}` and so on.
            settings: of the run; None where one is not given.
        """
        name, known = name or self.name, self.offline | self.tfds
        scheme, _, place = name.partition(":")
        options = {key: settings.pop(key, None) for key in ("label", "image_size", "skip_broken")}
        files = place and scheme != "tfds"
        if files and scheme not in self.own:
            told = ", ".join(f"{own}:PATH" for own in self.own) or "no files"
            raise InputError(f"--data {scheme}: this recipe reads {told}")
        takes = self.own[scheme][1] if files else ("image_size",)
        for key, value in options.items():
            if value and key not in takes:
                flag = key.replace("_", "-")
                raise InputError(f"--{flag}: data {scheme} takes no {flag}")
        if files:
            load, chosen = self.own[scheme][0], {key: options[key] for key in takes}
            sizes = {key: settings[key] for key in ("batch_size", "seed")}
            return load(place, like=like, **sizes, **chosen)
        name = place or name
        if options["image_size"]:
            settings["size"] = tuple(options["image_size"])
        if name not in known and known[self.name]:
            # Its pipeline needs further options, which are not known for this data set.
            raise InputError(f"data set {name}: this recipe reads {', '.join(known)}")
        return self.load(name, **known.get(name, {}), **settings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(Hyperparameters):
    """A task: data, model, what to minimize, what to report; and defaults of the hyperparameters.

    task: what is learned, in a few words. about: on what, and by which kind of model.
    shows: the layers that it demonstrates.
    data: where the examples come from.
    model: `(data, dropout, l1, l2, layers) -> keras.Model`.
    loss, metrics: as `keras.Model.compile` takes them.
    objective: `(data) -> arguments of compile` that depend on the data, such as a metric that must
        know the number of classes; they go before `loss` and `metrics`.
    callbacks: `(data, folder) -> callbacks` of the training, besides those of every run.
    figure: the metric that the run is judged by.
    select: the logged value whose best epoch's weights are kept, and `mode`, whether the best is
        the "min" or the "max".
    better: whether a "max" or a "min" of the figure is sought.
    measure: `(model, data) -> {name: figure on the test part}` besides what Keras measures.
    baseline: `(data) -> (its name, its figure on the test part)`: what is reached without layers
        that learn. rival: which one it is, or which ones, if it is the best of several.
    pictures: `(model, data) -> {file name: matplotlib figure}`, besides the curves.
    files: `(data) -> {file name: text}`: what else belongs to the run, such as a vocabulary.
    divisible: whether a batch can be divided among devices; a graph's nodes cannot.
    decay: whether the learning rate falls to 0 along a cosine, or stays.
    momentum: beta_1 of Adam, the share of the past in its mean of gradients.
    patience: epochs without a better `select` after which the training ends; None: it never does.
    short: epochs that are enough to beat the baseline clearly; None where it takes all.
    """

    task: str
    about: str
    shows: tuple[str, ...]
    data: Data
    model: Callable
    loss: object
    metrics: tuple
    figure: str
    baseline: Callable
    rival: str
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
    short: int | None = None
    patience: int | None = None
    momentum: float = 0.9

    @property
    def offline(self):
        """Whether its own data set needs no network."""
        return self.data.name in self.data.offline

    def beats(self, figure, rival):
        """Whether `figure` is the better one."""
        return figure < rival if self.better == "min" else figure > rival
