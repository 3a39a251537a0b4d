"""The recipes for images and videos other than image classification."""

import functools

from scripts.recipes.image_classes import PICTURES, images
from scripts.recipes.recipe import Data, Recipe, lazy, of_task, with_classes, with_shape

DIGITS = ("background", *map(str, range(10)))
OUTLINES = {
    "classes": ("background", "pet", "outline"),
    "values": (2, 1, 3),
    "size": (128, 128),
}
images_twice = functools.partial(
    Data, load=lazy("scripts.tasks.reconstruction", "load"), **PICTURES
)
masks = functools.partial(
    Data,
    load=lazy("scripts.data.masks", "load_masks"),
    offline={"digits_canvas": {"classes": DIGITS}},
    tfds={"oxford_iiit_pet": OUTLINES},
)
videos = functools.partial(
    Data,
    load=lazy("scripts.data.videos", "load_videos"),
    offline={"moving_digits": {}},
    tfds={"ucf101/ucf101_1": {"frames": 16, "size": (112, 112)}},
)


def boxes(name, cell):
    load = lazy("scripts.data.boxes", "load_boxes", cell=cell)
    return Data(name, load, {"digits_canvas": {}}, {"voc/2007": {"size": (224, 224)}})


segmentation = functools.partial(
    Recipe,
    task="segmentation",
    shows=("Conv2DTranspose", "Conv2D", "MaxPooling2D"),
    rival="all background",
    loss=None,
    metrics=(),
    figure="mean_iou",
    select="val_mean_iou",
    mode="max",
    **of_task("segmentation", "objective", "baseline", "pictures"),
)
detection = functools.partial(
    Recipe,
    task="object detection",
    shows=("Conv2D", "BatchNormalization", "ReLU"),
    rival="the same boxes in every image",
    loss=None,
    metrics=(),
    figure="mean_average_precision",
    select="val_mean_average_precision",
    mode="max",
    **of_task("detection", "objective", "callbacks", "measure", "baseline", "pictures"),
)
video_classification = functools.partial(
    Recipe,
    task="video classification",
    shows=("Conv3D", "MaxPooling3D", "GlobalAveragePooling3D"),
    rival="commonest class",
    loss="sparse_categorical_crossentropy",
    metrics=("accuracy",),
    figure="accuracy",
    **of_task("classes", "pictures", baseline="commonest_class"),
)
reconstruction = functools.partial(
    Recipe,
    task="reconstruction",
    shows=("Conv2D", "Conv2DTranspose", "Dense"),
    rival="the mean image",
    loss="binary_crossentropy",
    metrics=("mse",),
    figure="mse",
    better="min",
    **of_task("reconstruction", "baseline"),
    dropout=0.0,
    l2=0.0,
)
invention = functools.partial(
    Recipe,
    task="inventing images",
    shows=("Conv2DTranspose", "LeakyReLU", "BatchNormalization"),
    rival="a normal distribution of all pixels",
    loss=None,
    metrics=(),
    figure="frechet_distance",
    better="min",
    momentum=0.5,  # with the usual 0.9, the two networks chase each other in circles
    select="val_frechet_distance",
    **of_task("generation", "callbacks", "measure", "baseline", "pictures"),
    l2=0.0,
)
IMAGE_TASKS = {
    "canvas-unet": segmentation(
        about="which pixel belongs to which digit (2200 images, generated), U-Net",
        data=masks("digits_canvas"),
        model=with_classes("unet", filters=(16, 32, 64)),
        epochs=15,
        short=6,
        batch_size=32,
        learning_rate=3e-3,
    ),
    "pet-unet": segmentation(
        about="outlines of cats and dogs 128x128 (7349 photographs), U-Net",
        data=masks("oxford_iiit_pet"),
        model=with_classes("unet", filters=(16, 32, 64, 128)),
        epochs=30,
        batch_size=32,
    ),
    "canvas-detector": detection(
        about="boxes around digits (2200 images, generated), single-shot detector",
        data=boxes("digits_canvas", cell=4),
        model=with_classes("detector", filters=(32, 64)),
        epochs=20,
        short=6,
        batch_size=32,
        learning_rate=3e-3,
    ),
    "voc-detector": detection(
        about="boxes around 20 kinds of things 224x224 (9963 photographs), single-shot detector",
        data=boxes("voc/2007", cell=16),
        model=with_classes("detector", filters=(32, 64, 128, 256)),
        epochs=60,
        batch_size=32,
    ),
    "motion-convnet3d": video_classification(
        about="in which direction a digit moves (1800 videos, generated), 3-D convolutional net",
        data=videos("moving_digits"),
        model=with_classes("convnet3d", filters=(8, 16, 32)),
        epochs=8,
        short=4,
        batch_size=32,
        learning_rate=3e-3,
    ),
    "ucf101-convnet3d": video_classification(
        about="101 human actions, 16 frames 112x112 (13,320 videos), 3-D convolutional net",
        data=videos("ucf101/ucf101_1"),
        model=with_classes("convnet3d", filters=(32, 64, 128, 256)),
        epochs=30,
        batch_size=16,
    ),
    "digits-autoencoder": reconstruction(
        about="handwritten digits squeezed into 8 numbers, convolutional autoencoder",
        data=images_twice("digits"),
        model=with_shape("autoencoder", latent=8),
        **of_task("reconstruction", "pictures"),
        epochs=60,
        short=10,
        batch_size=32,
    ),
    "mnist-autoencoder": reconstruction(
        about="handwritten digits 28x28 squeezed into 16 numbers, convolutional autoencoder",
        data=images_twice("mnist"),
        model=with_shape("autoencoder", latent=16),
        **of_task("reconstruction", "pictures"),
        epochs=20,
        batch_size=128,
    ),
    "digits-vae": reconstruction(
        about="handwritten digits squeezed into 8 numbers, variational autoencoder",
        data=images_twice("digits"),
        model=with_shape("vae", latent=8, divergence=0.5),
        **of_task("reconstruction", pictures="pictures_and_samples"),
        epochs=60,
        short=15,
        batch_size=32,
    ),
    "mnist-vae": reconstruction(
        about="handwritten digits 28x28 squeezed into 16 numbers, variational autoencoder",
        data=images_twice("mnist"),
        model=with_shape("vae", latent=16),
        **of_task("reconstruction", pictures="pictures_and_samples"),
        epochs=20,
        batch_size=128,
    ),
    "digits-gan": invention(
        about="new handwritten digits 8x8, DCGAN",
        data=images("digits"),
        model=with_shape("gan", latent=16, filters=(64,)),
        epochs=60,
        short=20,
        batch_size=32,
        dropout=0.0,
    ),
    "mnist-gan": invention(
        about="new handwritten digits 28x28, DCGAN",
        data=images("mnist"),
        model=with_shape("gan", latent=64, filters=(64, 128)),
        epochs=20,
        batch_size=128,
        learning_rate=2e-4,
    ),
    "fashion-mnist-gan": invention(
        about="new articles of clothing 28x28, DCGAN",
        data=images("fashion_mnist"),
        model=with_shape("gan", latent=64, filters=(64, 128)),
        epochs=20,
        batch_size=128,
        learning_rate=2e-4,
    ),
}
