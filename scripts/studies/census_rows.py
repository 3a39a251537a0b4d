"""The rows of the census: how each layer is made, and what it is called with.

A row is (what makes the layer of a namespace `L`, inputs, arguments of the call). `KERAS` covers
`keras.layers`; what `custom_layers` has of them is made from there too. `OWN` are its others.
"""

import keras
import numpy as np

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


def ids(*shape, size=6):
    return RNG.integers(0, size, shape).astype("int32")


def edges(batch, count, nodes):
    """Edges (batch, count, 2), the last of each graph padding."""
    rows = RNG.integers(0, nodes, (batch, count, 2), dtype="int32")
    rows[:, -1] = -1
    return rows


FLAT, STEPS, IMAGES = normal(4, 5), normal(4, 6, 3), normal(4, 6, 6, 3)
VOLUMES, VIDEOS = normal(2, 4, 4, 4, 2), normal(2, 3, 5, 5, 2)
PICTURES = RNG.uniform(0, 255, (2, 8, 8, 3)).astype("float32")
RANKS = {1: STEPS, 2: IMAGES, 3: VOLUMES}
WORDS = np.array([["red", "green"], ["blue", "red"]])
GRAPH = [normal(4, 6, 5), edges(4, 7, 6)]
FLAT_GRAPHS = [normal(4, 5), np.array([0, 2, 3, 2], "int32"), normal(4, 1)]
ORTHOGONAL = {"recurrent_initializer": "glorot_uniform"}  # the default has no 16 bits


def row(make, inputs, **call):
    return make, inputs, call


def by_rank(family, *arguments, ranks=(1, 2, 3), **options):
    """Rows of a layer family, such as Conv1D, Conv2D, Conv3D of "Conv{}D"."""
    result = {}
    for rank in ranks:
        result |= plain(family.format(rank), RANKS[rank], *arguments, **options)
    return result


def pictures(name, *arguments, call=None, **options):
    """A row of a layer that augments pictures; at inference most of them do nothing."""
    options.setdefault("seed", 1)
    return {name: row(lambda L: getattr(L, name)(*arguments, **options), PICTURES, **(call or {}))}


def plain(name, inputs, *arguments, **options):
    return {name: row(lambda L: getattr(L, name)(*arguments, **options), inputs)}


CORE = {
    **plain("Dense", FLAT, 3, activation="tanh"),
    **plain("EinsumDense", STEPS, "abc,cd->abd", output_shape=(None, 4), bias_axes="d"),
    **plain("Embedding", ids(4, 5), 6, 3, mask_zero=True),
    **plain("Identity", FLAT),
    "Lambda": row(lambda L: L.Lambda(keras.ops.square), FLAT),
    **plain("Masking", STEPS),
    **plain("ReversibleEmbedding", ids(4, 5), 6, 3),
}
ACTIVATIONS = {
    **plain("ReLU", FLAT, 1.0, 0.1, 0.2),
    **plain("LeakyReLU", FLAT),
    **plain("ELU", FLAT),
    **plain("PReLU", FLAT),
    **plain("Softmax", FLAT),
    **{
        f"Activation {name}": row(lambda L, name=name: L.Activation(name), FLAT)
        for name in (
            *("gelu", "relu6", "softsign", "softplus", "selu", "silu", "mish", "exponential"),
            *("celu", "glu", "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "leaky_relu"),
            *(
                "log_sigmoid",
                "log_softmax",
                "soft_shrink",
                "sparse_plus",
                "sparsemax",
                "squareplus",
            ),
            *("sparse_sigmoid", "tanh_shrink", "sigmoid", "tanh"),
        )
    },
}
ACTIVATIONS["Activation glu"] = row(lambda L: L.Activation("glu"), normal(4, 6))
CONVOLUTIONS = {
    **by_rank("Conv{}D", 4, 2, activation="relu"),
    **by_rank("Conv{}DTranspose", 3, 2, strides=2),
    **by_rank("DepthwiseConv{}D", 2, depth_multiplier=2, ranks=(1, 2)),
    **by_rank("SeparableConv{}D", 3, 2, ranks=(1, 2)),
    "Conv2D in groups": row(lambda L: L.Conv2D(6, 3, groups=3, padding="same"), IMAGES),
    "Conv1D causal": row(lambda L: L.Conv1D(3, 2, padding="causal", dilation_rate=2), STEPS),
}
POOLING = {
    **by_rank("MaxPooling{}D"),
    **by_rank("AveragePooling{}D", 2, padding="same"),
    **by_rank("GlobalMaxPooling{}D"),
    **by_rank("GlobalAveragePooling{}D"),
    **by_rank("AdaptiveMaxPooling{}D", 2),
    **by_rank("AdaptiveAveragePooling{}D", 2),
    "AdaptiveMaxPooling2D to 1": row(lambda L: L.AdaptiveMaxPooling2D(1), IMAGES),
    "AdaptiveAveragePooling2D to 1": row(lambda L: L.AdaptiveAveragePooling2D(1), IMAGES),
    "MaxPooling3D of equal entries": row(lambda L: L.MaxPooling3D(), np.ones_like(VOLUMES)),
    "MaxPooling2D of equal entries": row(lambda L: L.MaxPooling2D(), np.ones_like(IMAGES)),
}
RECURRENT = {
    **plain("LSTM", STEPS, 3, **ORTHOGONAL),
    **plain("GRU", STEPS, 3, return_sequences=True, **ORTHOGONAL),
    **plain("SimpleRNN", STEPS, 3, **ORTHOGONAL),
    "GRU as in Cho et al.": row(lambda L: L.GRU(3, reset_after=False, **ORTHOGONAL), STEPS),
    "LSTM with defaults": row(lambda L: L.LSTM(3), STEPS),
    "LSTM with dropout": row(
        lambda L: L.LSTM(3, dropout=0.3, recurrent_dropout=0.3, **ORTHOGONAL), STEPS
    ),
    "RNN of LSTMCell": row(lambda L: L.RNN(L.LSTMCell(3, **ORTHOGONAL)), STEPS),
    "RNN of GRUCell": row(lambda L: L.RNN(L.GRUCell(3, **ORTHOGONAL)), STEPS),
    "RNN of SimpleRNNCell": row(lambda L: L.RNN(L.SimpleRNNCell(3, **ORTHOGONAL)), STEPS),
    "StackedRNNCells": row(
        lambda L: L.RNN(
            L.StackedRNNCells([L.GRUCell(3, **ORTHOGONAL), L.GRUCell(2, **ORTHOGONAL)])
        ),
        STEPS,
    ),
    "Bidirectional": row(lambda L: L.Bidirectional(L.GRU(3, **ORTHOGONAL)), STEPS),
    "TimeDistributed": row(lambda L: L.TimeDistributed(L.Dense(2)), STEPS),
    "ConvLSTM1D": row(lambda L: L.ConvLSTM1D(2, 2, **ORTHOGONAL), VIDEOS[:, :, 0]),
    "ConvLSTM2D": row(lambda L: L.ConvLSTM2D(2, 2, **ORTHOGONAL), VIDEOS),
    "ConvLSTM3D": row(lambda L: L.ConvLSTM3D(2, 2, **ORTHOGONAL), normal(2, 2, 3, 3, 3, 2)),
}
NORMALIZATION = {
    **plain("BatchNormalization", IMAGES),
    "BatchNormalization with renorm": row(lambda L: L.BatchNormalization(renorm=True), FLAT),
    **plain("LayerNormalization", STEPS),
    **plain("GroupNormalization", normal(4, 6, 6, 4), 2),
    **plain("RMSNormalization", STEPS),
    **plain("UnitNormalization", FLAT),
    "UnitNormalization of a zero row": row(
        lambda L: L.UnitNormalization(), np.array([[1, 2, 3], [0, 0, 0]], "float32")
    ),
    "SpectralNormalization": row(lambda L: L.SpectralNormalization(L.Dense(3)), FLAT),
}
REGULARIZATION = {
    **plain("Dropout", FLAT, 0.5),
    **by_rank("SpatialDropout{}D", 0.5),
    **plain("AlphaDropout", FLAT, 0.3),
    **plain("GaussianDropout", FLAT, 0.3),
    **plain("GaussianNoise", FLAT, 0.3),
    **plain("ActivityRegularization", FLAT, 0.1, 0.2),
}
ATTENTION = {
    **plain("Attention", [normal(2, 4, 3), normal(2, 5, 3)], use_scale=True),
    **plain("AdditiveAttention", [normal(2, 4, 3), normal(2, 5, 3)]),
    "MultiHeadAttention": row(
        lambda L: L.MultiHeadAttention(2, 3), normal(2, 4, 6), value=normal(2, 5, 6)
    ),
    "GroupedQueryAttention": row(
        lambda L: L.GroupedQueryAttention(3, 4, 2), normal(2, 4, 6), value=normal(2, 5, 6)
    ),
}
MERGING = {
    **{
        name: row(lambda L, name=name: getattr(L, name)(), [FLAT, normal(4, 5)])
        for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
    },
    "Dot": row(lambda L: L.Dot(1), [FLAT, normal(4, 5)]),
    "Dot of a zero row": row(
        lambda L: L.Dot(1, normalize=True), [FLAT * np.array([[0], [1], [1], [1]], "f"), FLAT]
    ),
    "Maximum of equal entries": row(lambda L: L.Maximum(), [FLAT, FLAT.copy()]),
}
RESHAPING = {
    **plain("Flatten", STEPS),
    **plain("Reshape", STEPS, (3, 6)),
    **plain("Permute", STEPS, (2, 1)),
    **plain("RepeatVector", FLAT, 3),
    **by_rank("Cropping{}D", 1),
    **by_rank("ZeroPadding{}D", 1),
    **by_rank("UpSampling{}D", 2),
    "UpSampling2D bilinear": row(lambda L: L.UpSampling2D(2, interpolation="bilinear"), IMAGES),
    "UpSampling2D bicubic": row(lambda L: L.UpSampling2D(2, interpolation="bicubic"), IMAGES),
}
PREPROCESSING = {
    **plain("Rescaling", FLAT, 0.5, offset=1.0),
    **plain("Normalization", FLAT, mean=0.5, variance=2.0),
    **plain("Discretization", FLAT, [-1.0, 0.0, 1.0]),
    **plain("CategoryEncoding", ids(4, 5), 6, output_mode="multi_hot"),
    **plain("Hashing", ids(4, 5), 3),
    **plain("HashedCrossing", [ids(4, 1), ids(4, 1)], 5),
    **plain("IntegerLookup", ids(4, 5), vocabulary=[1, 2, 3, 4]),
    "StringLookup": row(lambda L: L.StringLookup(vocabulary=["red", "blue"]), WORDS),
    "TextVectorization": row(lambda L: L.TextVectorization(vocabulary=["red"]), WORDS),
    **plain("STFTSpectrogram", normal(2, 64, 1), frame_length=16, frame_step=8, fft_length=16),
    **plain("MelSpectrogram", normal(2, 64), fft_length=16, sequence_stride=8, num_mel_bins=4),
    **plain("CenterCrop", PICTURES, 4, 4),
    **plain("Resizing", PICTURES, 5, 5),
    "Pipeline": row(lambda L: L.Pipeline([L.Rescaling(0.5), L.CenterCrop(4, 4)]), PICTURES),
    **pictures("RandomBrightness", 0.2),
    **pictures("RandomContrast", 0.2),
    **pictures("RandomCrop", 4, 4),
    **pictures("RandomFlip"),
    **pictures("RandomRotation", 0.2),
    **pictures("RandomTranslation", 0.2, 0.2),
    **pictures("RandomZoom", 0.2),
    **pictures("RandomShear", 0.2, 0.2),
    **pictures("RandomPerspective"),
    **pictures("RandomErasing"),
    **pictures("RandomGaussianBlur"),
    **pictures("RandomGrayscale"),
    **pictures("RandomHue", 0.2),
    **pictures("RandomSaturation", 0.2),
    **pictures("RandomSharpness", 0.2),
    **pictures("RandomInvert"),
    **pictures("RandomColorDegeneration", 0.2),
    **pictures("RandomColorJitter", brightness_factor=0.2),
    **pictures("RandomPosterization", 4),
    **pictures("RandomElasticTransform"),
    **pictures("Solarization"),
    **pictures("AutoContrast"),
    **pictures("Equalization"),
}
KERAS = {
    **CORE,
    **ACTIVATIONS,
    **CONVOLUTIONS,
    **POOLING,
    **RECURRENT,
    **NORMALIZATION,
    **REGULARIZATION,
    **ATTENTION,
    **MERGING,
    **RESHAPING,
    **PREPROCESSING,
}
OWN = {
    **plain("GlobalSumPooling1D", STEPS),
    **plain("EmbeddingBag", [RNG.integers(-1, 6, (4, 5), dtype="int32"), normal(4, 5)], 6, 3),
    **plain("RotaryEmbedding", normal(2, 4, 3, 6)),
    **plain("GraphConv", [*GRAPH, np.abs(normal(4, 7))], 3, "tanh"),
    **plain("GATConv", GRAPH, 3, heads=2, dropout=0.5),
    **plain("GATv2Conv", GRAPH, 3, heads=2, concat=False),
    **plain("SAGEConv", GRAPH, 3, normalize=True),
    "SAGEConv of maxima": row(lambda L: L.SAGEConv(3, aggregate="max"), GRAPH),
    "GINConv": row(lambda L: L.GINConv(L.Dense(3), train_epsilon=True), GRAPH),
    "EdgeConv": row(lambda L: L.EdgeConv(L.Dense(3)), [*GRAPH, normal(4, 7, 2)]),
    **plain("RGCNConv", [*GRAPH, ids(4, 7, size=2)], 3, num_relations=2, num_bases=3),
    **plain("ChebConv", GRAPH, 3, K=3),
    **plain("SGConv", GRAPH, 3, K=2),
    **plain("APPNP", GRAPH, 3),
    **plain("GraphSumPooling", FLAT_GRAPHS),
    **plain("GraphAveragePooling", FLAT_GRAPHS),
    **plain("GraphMaxPooling", FLAT_GRAPHS),
    **plain("GraphAttentionPooling", FLAT_GRAPHS),
}
