"""Attention, AdditiveAttention: each query's mean of the values, without projections or heads.

    z = s q kᵀ                               Attention, "dot"        q (B, T, D)   k (B, S, D)
    z_ts = w Σ_d tanh(s (q_td + k_sd))       Attention, "concat"     s, w numbers, 1 if not learned
    z_ts = Σ_d s_d tanh(q_td + k_sd)         AdditiveAttention       s (D,)
    p = softmax z       y = (p ∘ m) v        v (B, S, E)   y (B, T, E)   m the mask of dropout

Backward: of the dot product that of scaled_dot_product.py, which keeps neither z nor p. Of the
sums, with w (D,), u_tsd = q_td + k_sd and h = tanh u, given dz = dL/dz:

    du = dz w (1 - h²)      dq = Σ_s du      dk = Σ_t du      dw = Σ_ts dz h

h, D times as large as z, is not kept: both ways make it block by block of queries.

Luong, Pham & Manning, Effective approaches to attention-based neural machine translation, EMNLP
2015. Bahdanau, Cho & Bengio, Neural machine translation by jointly learning to align and translate,
ICLR 2015.
"""

import keras
import tensorflow as tf

from custom_layers.activations.softmax import softmax
from custom_layers.attention.scaled_dot_product import blocks_of, scaled_dot_product, sizes
from custom_layers.base import Layer, check_number
from custom_layers.gradients import wide, with_backward
from custom_layers.regularization.dropout import dropout, next_seed


def _sum_of(q, k, block):
    """h of a block, (B, G, t, S, D)."""
    return tf.tanh(q[:, :, block.rows, tf.newaxis] + k[:, :, tf.newaxis])


def additive_scores_forward(q, k, w, *, queries=None):
    """q (B, G, T, D), k (B, G, S, D), w (D,) -> z (B, G, T, S)."""
    results, before = [], []
    for block in blocks_of(q, k, each=k.shape[-1], queries=queries):
        with tf.control_dependencies(before):  # one block after the other
            before = [tf.linalg.matvec(_sum_of(q, k, block), w)]
        results += before
    return tf.concat(results, 2), (q, k, w)


def additive_scores_backward(dz, cache, *, queries=None):
    """dz (B, G, T, S) -> dq, dk, dw."""
    q, k, w = cache
    dq, dk, dw, before = [], tf.zeros_like(k), tf.zeros_like(w), []
    for block in blocks_of(q, k, each=k.shape[-1], queries=queries):
        with tf.control_dependencies(before):
            h, part = _sum_of(q, k, block), dz[:, :, block.rows, :, tf.newaxis]
            du = part * w * (1 - tf.square(h))
            dq.append(tf.reduce_sum(du, 3))
            dk += tf.reduce_sum(du, 2)
            dw += tf.reduce_sum(part * h, [0, 1, 2, 3])
        before = [dq[-1], dk, dw]
    return tf.concat(dq, 2), dk, dw


additive_scores = with_backward(additive_scores_forward, additive_scores_backward)


def causal_mask(queries, keys):
    """(T, S), True where s ≤ t."""
    return tf.range(keys) <= tf.range(queries)[:, tf.newaxis]


@keras.saving.register_keras_serializable(package="custom_layers")
class Attention(Layer):
    """For each query the mean of the values, weighted by its products with the keys.

    Called with a list `[query (B, ..., T, D), value (B, ..., S, E)]`, or `[query, value, key]`;
    without a key the value is the key too. Output `(B, ..., T, E)`, and with
    `return_attention_scores` the weights `(B, ..., T, S)` after dropout. Weights `scale` and
    `concat_score_weight`, numbers, where the arguments ask for them. With `use_causal_mask` query t
    sees the keys s ≤ t. Of the masks `[query_mask (B, T), value_mask (B, S)]` the first makes
    outputs 0, the second hides keys; what is masked has no influence, and a query that sees
    nothing gives 0 (Keras: what it gives without the mask). Arguments are those of
    `keras.layers.Attention`.

    Raises:
        ValueError: `score_mode` is neither "dot" nor "concat"; the call is not on a list of 2 or 3,
            or a mask is not one.
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        check_number("in [0, 1]", lambda number: 0 <= number <= 1, dropout=dropout)
        super().__init__(**kwargs)
        self.use_scale = use_scale
        self.score_mode = score_mode
        self.dropout = dropout
        self.seed = seed
        if dropout > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)
        if score_mode not in ("dot", "concat"):
            raise ValueError(
                "Invalid value for argument score_mode. Expected one of {'dot', 'concat'}. "
                f"Received: score_mode={score_mode}"
            )

    def build(self, input_shape):
        self._validate_inputs(input_shape)
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                name="concat_score_weight", shape=(), initializer="ones"
            )

    def call(
        self,
        inputs,
        mask=None,
        training=False,
        return_attention_scores=False,
        use_causal_mask=False,
    ):
        self._validate_inputs(inputs, mask)
        q_mask, v_mask = mask[:2] if mask else (None, None)
        q, v = inputs[:2]
        shape = [*sizes(q)[:-1], v.shape[-1]]
        length, keys = shape[-2], sizes(v)[-2]
        # All leading axes as one, and one head: (L, 1, T, D).
        q, v, k = (tf.reshape(x, (-1, 1, *sizes(x)[-2:])) for x in (q, v, inputs[-1]))
        visible = None
        if v_mask is not None:
            visible = tf.cast(v_mask, tf.bool)
            rows = 1 if visible.shape.rank == len(shape) - 1 else length
            visible = tf.reshape(visible, (-1, 1, rows, keys))
        if q_mask is not None:
            kept = tf.reshape(tf.cast(q_mask, tf.bool), (-1, 1, length, 1))
            q = tf.where(kept, q, tf.zeros((), q.dtype))
        rate = self.dropout if training else 0.0
        seed = next_seed(self.seed_generator) if rate else None
        if self.score_mode == "dot" and not return_attention_scores:
            y = self._mean(q, k, v, visible, use_causal_mask, rate=rate, seed=seed)
        else:
            if visible is not None and visible.shape[2] == 1:
                seen = tf.transpose(visible, (0, 1, 3, 2))
                k, v = (tf.where(seen, x, tf.zeros((), x.dtype)) for x in (k, v))
            p = self._weights(q, k, v, visible, use_causal_mask)
            p = dropout(p, seed, rate=rate) if rate else p
            y = tf.matmul(p, v)
        if q_mask is not None:
            y = tf.where(kept, y, tf.zeros((), y.dtype))
        y = tf.reshape(y, shape)
        if return_attention_scores:
            return y, tf.reshape(p, [*shape[:-1], keys])
        return y

    def _mean(self, q, k, v, visible, causal, **options):
        """y (L, 1, T, E) of the dot product, or (y, p)."""
        if self.scale is not None:
            q *= tf.cast(tf.convert_to_tensor(self.scale), q.dtype)
        q, k, v = (tf.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
        y = scaled_dot_product(q, k, v, mask=visible, scale=1.0, causal=causal, **options)
        if options.get("return_weights"):
            return y
        return tf.transpose(y, (0, 2, 1, 3))

    def _weights(self, q, k, v, visible, causal):
        """p (L, 1, T, S)."""
        if self.score_mode == "dot":
            return self._mean(q, k, v, visible, causal, return_weights=True)[1]
        z = self._additive(wide(q), wide(k))
        if causal:
            earlier = causal_mask(*sizes(z)[2:])
            visible = earlier if visible is None else visible & earlier
        return tf.cast(softmax(z, visible), q.dtype)

    def _additive(self, q, k):
        """z (L, 1, T, S) of the sums."""
        if self.scale is not None:
            scale = tf.cast(tf.convert_to_tensor(self.scale), q.dtype)
            q, k = q * scale, k * scale
        weight = tf.cast(tf.convert_to_tensor(self.concat_score_weight), q.dtype)
        return additive_scores(q, k, weight * tf.ones((k.shape[-1],), q.dtype))

    def compute_mask(self, inputs, mask=None):
        self._validate_inputs(inputs, mask)
        return None if mask is None or mask[0] is None else tf.convert_to_tensor(mask[0])

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], input_shape[1][-1])

    def compute_output_spec(
        self,
        inputs,
        mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
    ):
        self._validate_inputs(inputs, mask)
        shape = self.compute_output_shape([x.shape for x in inputs])
        y = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if return_attention_scores:
            shape = (*shape[:-1], inputs[-1].shape[-2])
            return y, keras.KerasTensor(shape, dtype=self.compute_dtype)
        return y

    def _validate_inputs(self, inputs, mask=None):
        name = type(self).__name__
        if not isinstance(inputs, list):
            raise ValueError(
                f"{name} layer must be called on a list of inputs, namely [query, value] or "
                f"[query, value, key]. Received: inputs={inputs}."
            )
        if not 2 <= len(inputs) <= 3:
            raise ValueError(
                f"{name} layer accepts inputs list of length 2 or 3, namely [query, value] or "
                f"[query, value, key]. Received length: {len(inputs)}."
            )
        if mask is not None and not isinstance(mask, list):
            raise ValueError(
                f"{name} layer mask must be a list, namely [query_mask, value_mask]. "
                f"Received: mask={mask}."
            )
        if mask is not None and not 2 <= len(mask) <= 3:
            raise ValueError(
                f"{name} layer accepts mask list of length 2 or 3. "
                f"Received: inputs={inputs}, mask={mask}."
            )


@keras.saving.register_keras_serializable(package="custom_layers")
class AdditiveAttention(Attention):
    """`Attention` whose scores are sums of `scale · tanh(query + key)`, with a weight `scale (D,)`.

    Queries and keys have the same number of features. Call and masks are those of `Attention`;
    arguments are those of `keras.layers.AdditiveAttention`.
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs):
        super().__init__(use_scale=use_scale, score_mode="concat", dropout=dropout, **kwargs)

    def build(self, input_shape):
        self._validate_inputs(input_shape)
        self.scale = None
        if self.use_scale:
            self.scale = self.add_weight(
                name="scale", shape=(input_shape[0][-1],), initializer="glorot_uniform"
            )

    def _additive(self, q, k):
        ones = tf.ones((k.shape[-1],), q.dtype)
        w = ones if self.scale is None else tf.cast(tf.convert_to_tensor(self.scale), q.dtype)
        return additive_scores(q, k, w)

    def get_config(self):
        config = super().get_config()
        del config["score_mode"]
        return config
