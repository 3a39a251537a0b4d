"""The recipes: what is trained on what, and what is measured.

A recipe is one entry of RECIPES. Its functions import what they need when called: TensorFlow takes
seconds to import, and neither the table of recipes nor a misspelled name should wait for it.
"""

import difflib
import functools

from scripts.recipes.graphs import GRAPH_RECIPES
from scripts.recipes.image_recipes import IMAGE_RECIPES, confusion, images, with_classes
from scripts.recipes.recipe import Recipe
from scripts.recipes.series_and_tables import NUMBER_RECIPES
from scripts.recipes.texts import TEXT_RECIPES
from scripts.training.command_line import InputError


def convnet(*filters):
    def model(data, **options):
        from models.convnet import convnet

        return convnet(data.shape, len(data.classes), filters=filters, **options)

    return model


def mlp(*units):
    def model(data, **options):
        from models.mlp import mlp

        return mlp(data.shape, len(data.classes), units=units, **options)

    return model


def nearest_mean(data):
    from scripts.tasks.baselines import nearest_mean

    return "nearest class mean", nearest_mean(data.train, data.test, len(data.classes))


image_classification = functools.partial(
    Recipe,
    task="classes of images",
    shows=("Conv2D", "MaxPooling2D", "BatchNormalization", "Dropout"),
    rival="nearest class mean",
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    baseline=nearest_mean,
    pictures=confusion,
)

RECIPES = {
    "digits-convnet": image_classification(
        about="handwritten digits 8x8 (1797 images, from scikit-learn), convolutional net",
        data=images("digits"),
        model=convnet(32, 64),
        epochs=40,
        short=10,
        batch_size=32,
    ),
    "digits-mlp": image_classification(
        about="handwritten digits 8x8 (1797 images, from scikit-learn), multi-layer perceptron",
        data=images("digits"),
        model=mlp(128, 64),
        shows=("Dense", "Dropout"),
        epochs=40,
        short=10,
        batch_size=32,
    ),
    "digits-resnet": image_classification(
        about="handwritten digits 8x8 (1797 images, from scikit-learn), residual net",
        data=images("digits"),
        model=with_classes("resnet", filters=(16, 32, 64)),
        shows=("Conv2D", "BatchNormalization", "GlobalAveragePooling2D"),
        epochs=40,
        short=8,
        batch_size=32,
    ),
    "mnist-convnet": image_classification(
        about="handwritten digits 28x28 (70,000 images), convolutional net",
        data=images("mnist"),
        model=convnet(32, 64),
        epochs=10,
        batch_size=128,
    ),
    "fashion-mnist-convnet": image_classification(
        about="articles of clothing 28x28 (70,000 images), convolutional net",
        data=images("fashion_mnist"),
        model=convnet(32, 64),
        epochs=15,
        batch_size=128,
    ),
    "cifar10-convnet": image_classification(
        about="animals and vehicles 32x32 in color (60,000 images), convolutional net",
        data=images("cifar10"),
        model=convnet(32, 64, 128),
        epochs=30,
        batch_size=128,
    ),
    "mnist-resnet": image_classification(
        about="handwritten digits 28x28 (70,000 images), residual net",
        data=images("mnist"),
        model=with_classes("resnet", filters=(16, 32, 64)),
        shows=("Conv2D", "BatchNormalization", "GlobalAveragePooling2D"),
        epochs=10,
        batch_size=128,
    ),
    "cifar10-resnet": image_classification(
        about="animals and vehicles 32x32 in color (60,000 images), residual net",
        data=images("cifar10"),
        model=with_classes("resnet", filters=(32, 64, 128), blocks=3),
        shows=("Conv2D", "BatchNormalization", "GlobalAveragePooling2D"),
        epochs=60,
        batch_size=128,
    ),
    "bangla-convnet": image_classification(
        about="handwritten Bangla numerals 32x32 in color (6000 images), convolutional net",
        data=images("cmaterdb/bangla"),
        model=convnet(32, 64, 128),
        epochs=20,
        dropout=0.1,  # validation 98-99 %; with 0.25, 96 %, as dropped features shift the norms
    ),
    **IMAGE_RECIPES,
    **NUMBER_RECIPES,
    **TEXT_RECIPES,
    **GRAPH_RECIPES,
}


def find(name):
    """The recipe of that name, or an error that names the nearest ones."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 3, 0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "see --list"
        raise InputError(f"there is no recipe {name}: {hint}")
    return RECIPES[name]


def load_data(recipe, settings):
    """The data of a recipe, or an error that also names the recipes that need no network."""
    try:
        return recipe.data(
            settings.data,
            batch_size=settings.batch_size,
            seed=settings.seed,
            data_dir=settings.data_dir,
            download_dir=settings.download_dir,
        )
    except InputError as error:
        offline = ", ".join(name for name, other in RECIPES.items() if other.offline)
        raise InputError(f"{error}. Without a network: {offline}") from error
