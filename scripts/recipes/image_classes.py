"""The recipes that name the class of an image."""

import functools

from scripts.recipes.recipe import Data, Recipe, lazy, of_task, with_classes

PICTURES = {
    "offline": {"digits": {}},
    "tfds": {"mnist": {}, "fashion_mnist": {}, "cifar10": {}, "cmaterdb/bangla": {}},
}
images = functools.partial(Data, load=lazy("scripts.data.images", "load_images"), **PICTURES)
labeled = functools.partial(
    images,
    own={
        "folder": (lazy("scripts.data.own.folders", "load_folder"), ("image_size", "skip_broken"))
    },
)
image_classification = functools.partial(
    Recipe,
    task="image classification",
    shows=("Conv2D", "MaxPooling2D", "BatchNormalization", "Dropout"),
    rival="nearest class mean",
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    **of_task("classes", "pictures", baseline="nearest_mean"),
)

IMAGE_CLASSES = {
    "digits-convnet": image_classification(
        about="handwritten digits 8x8 (1797 images, from scikit-learn), convolutional net",
        data=labeled("digits"),
        model=with_classes("convnet", filters=(32, 64)),
        epochs=40,
        short=10,
        batch_size=32,
    ),
    "digits-mlp": image_classification(
        about="handwritten digits 8x8 (1797 images, from scikit-learn), multi-layer perceptron",
        data=labeled("digits"),
        model=with_classes("mlp", units=(128, 64)),
        shows=("Dense", "Dropout"),
        epochs=40,
        short=10,
        batch_size=32,
    ),
    "digits-resnet": image_classification(
        about="handwritten digits 8x8 (1797 images, from scikit-learn), residual net",
        data=labeled("digits"),
        model=with_classes("resnet", filters=(16, 32, 64)),
        shows=("Conv2D", "BatchNormalization", "GlobalAveragePooling2D"),
        epochs=40,
        short=8,
        batch_size=32,
    ),
    "mnist-convnet": image_classification(
        about="handwritten digits 28x28 (70,000 images), convolutional net",
        data=labeled("mnist"),
        model=with_classes("convnet", filters=(32, 64)),
        epochs=10,
        batch_size=128,
    ),
    "fashion-mnist-convnet": image_classification(
        about="articles of clothing 28x28 (70,000 images), convolutional net",
        data=labeled("fashion_mnist"),
        model=with_classes("convnet", filters=(32, 64)),
        epochs=15,
        batch_size=128,
    ),
    "cifar10-convnet": image_classification(
        about="animals and vehicles 32x32 in color (60,000 images), convolutional net",
        data=labeled("cifar10"),
        model=with_classes("convnet", filters=(32, 64, 128)),
        epochs=30,
        batch_size=128,
    ),
    "mnist-resnet": image_classification(
        about="handwritten digits 28x28 (70,000 images), residual net",
        data=labeled("mnist"),
        model=with_classes("resnet", filters=(16, 32, 64)),
        shows=("Conv2D", "BatchNormalization", "GlobalAveragePooling2D"),
        epochs=10,
        batch_size=128,
    ),
    "cifar10-resnet": image_classification(
        about="animals and vehicles 32x32 in color (60,000 images), residual net",
        data=labeled("cifar10"),
        model=with_classes("resnet", filters=(32, 64, 128), blocks=3),
        shows=("Conv2D", "BatchNormalization", "GlobalAveragePooling2D"),
        epochs=60,
        batch_size=128,
    ),
    "bangla-convnet": image_classification(
        about="handwritten Bangla numerals 32x32 in color (6000 images), convolutional net",
        data=labeled("cmaterdb/bangla"),
        model=with_classes("convnet", filters=(32, 64, 128)),
        epochs=20,
        dropout=0.1,  # validation 98-99 %; with 0.25, 96 %, as dropped features shift the norms
    ),
}
