"""MultiHeadAttention, GroupQueryAttention: attention of several heads, between projections.

    q = X W_q + b_q    k = Z W_k + b_k    v = Z' W_v + b_v       X (B, T, I)   Z, Z' (B, S, I')
    y = scaled_dot_product(q, k, v)                              q, y (B, T, K, D)   K heads
    Y = y W_o + b_o                                              Y (B, T, O)
    Y = (y ∘ σ(X W_g + b_g)) W_o + b_o                           with a gate

In GroupQueryAttention k and v have G heads, each for K / G heads of queries in a row.

Backward: that of scaled_dot_product.py between those of einsum_dense.py, four of them or five.

Vaswani et al., Attention is all you need, NeurIPS 2017. Ainslie et al., GQA: training generalized
multi-query transformer models from multi-head checkpoints, EMNLP 2023. Qiu et al., Gated attention
for large language models, arXiv:2505.06708.
"""

import functools
import math

import keras
import tensorflow as tf

from custom_layers.attention.attention import causal_mask
from custom_layers.attention.einsum_dense import EinsumDense
from custom_layers.attention.scaled_dot_product import scaled_dot_product, sizes
from custom_layers.base import (
    Constraint,
    Initializer,
    Layer,
    Regularizer,
    check_number,
    check_positive,
)
from custom_layers.private_apis import get_keras_mask
from custom_layers.regularization.dropout import next_seed


def shown(x, mask):
    """x (B, T, ..., I) with 0 where the mask (B, T, ...) is False, whatever x holds there."""
    if mask is None:
        return x
    mask = tf.cast(mask, tf.bool)
    while mask.shape.rank < x.shape.rank:
        mask = mask[..., tf.newaxis]
    return tf.where(mask, x, tf.zeros((), x.dtype))


def near(queries, keys, window):
    """(T, S), True where |t - s| < window."""
    return tf.abs(tf.range(queries)[:, tf.newaxis] - tf.range(keys)) < window


class _ProjectedAttention(Layer):
    """What the two layers share: projections, masks, and the call."""

    def _set_options(self, dropout, sliding_window, activity_regularizer, use_gate, seed):
        check_number("in [0, 1]", lambda number: 0 <= number <= 1, dropout=dropout)
        if sliding_window is not None and (
            not isinstance(sliding_window, int) or sliding_window <= 0
        ):
            raise ValueError(
                "`sliding_window` must be `None` or a positive integer. "
                f"Received: sliding_window={sliding_window}"
            )
        self._sliding_window = sliding_window
        # Of the projections; in Keras, only GroupQueryAttention has it for its own output too.
        self._activity_regularizer = keras.regularizers.get(activity_regularizer)
        self._use_gate = use_gate
        self.seed = seed
        self.supports_masking = True

    @property
    def sliding_window(self):
        """How far a query sees, or None."""
        return self._sliding_window

    @property
    def use_gate(self):
        """Whether a gate multiplies what the heads see."""
        return self._use_gate

    def _projection(self, name, input_shape, equation, sizes, activation=None):
        """An EinsumDense on the last axes; `sizes` of its output, and its bias, are last too."""
        axes = equation.rpartition("...")[2]
        layer = EinsumDense(
            equation,
            output_shape=tuple(sizes),
            activation=activation,
            bias_axes=axes if self.use_bias else None,
            name=name,
            dtype=self.dtype_policy,
            activity_regularizer=self._activity_regularizer,
            kernel_initializer=self._fresh(self.kernel_initializer),
            bias_initializer=self._fresh(self.bias_initializer),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
        )
        layer.build(tuple(input_shape))
        return layer

    @staticmethod
    def _fresh(initializer):
        """Another initializer of that config: the same one would draw the same numbers again."""
        return type(initializer).from_config(initializer.get_config())

    def _build_dropout(self):
        # In files, the generator is part of a layer of this name.
        self._dropout_layer = keras.layers.Layer(name="dropout")
        if self.dropout > 0:
            self._dropout_layer.seed_generator = keras.random.SeedGenerator(self.seed)
        self._dropout_layer.build(())

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
    ):
        key = value if key is None else key
        if query_mask is None:
            query_mask = get_keras_mask(query)
        query = shown(query, query_mask)
        key, value = shown(shown(key, key_mask), value_mask), shown(value, value_mask)
        own = type(self)._compute_attention is not type(self)._PLAIN
        seen = self._compute_attention_mask(
            query,
            value,
            # A mask of T alone is applied to y instead, which saves one of T times S.
            query_mask=query_mask if own or return_attention_scores else None,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            use_causal_mask=use_causal_mask and own,
        )
        gate = self._gate_dense(query) if self._use_gate else None
        query, key, value = self._query_dense(query), self._key_dense(key), self._value_dense(value)
        options = {}
        if own:  # an attention that a subclass wrote gets all that hides a key as one mask
            if self._sliding_window is not None:
                close = near(sizes(query)[1], sizes(value)[1], self._sliding_window)[tf.newaxis]
                seen = close if seen is None else seen & close
            share = query.shape[-2] // key.shape[-2]
            key, value = (x if share == 1 else tf.repeat(x, share, -2) for x in (key, value))
        elif use_causal_mask:
            options["use_causal_mask"] = True
        y, weights = self._attention_of(
            query, key, value, seen, training, return_attention_scores, options
        )
        y = self._output_dense(shown(y if gate is None else y * gate, query_mask))
        return (y, weights) if return_attention_scores else y

    def _attend(self, query, key, value, mask, training, causal, return_weights):
        """y (B, T, ..., K, D) and p or None, with attention over `_axes` of (B, T, ..., K, D)."""
        query, key, value = (tf.convert_to_tensor(x) for x in (query, key, value))
        rank, axes = query.shape.rank, self._axes
        flat = rank == 4 and tuple(axes) == (1,)
        rest = [axis for axis in range(rank - 2) if axis not in axes]
        order = [*rest, *axes, rank - 2, rank - 1]
        before, after = ([sizes(x)[axis] for axis in axes] for x in (query, key))
        batch = [sizes(query)[axis] for axis in rest]
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            for _ in range(len(batch) + 1 + 2 * len(axes) - mask.shape.rank):
                mask = tf.expand_dims(mask, -2 * len(axes) - 1)
        if not flat:  # the axes of attention as one, and all before them
            if mask is not None:
                heads = mask.shape[len(batch)]
                mask = tf.broadcast_to(mask, [*batch, heads, *before, *after])
                mask = tf.reshape(mask, (-1, heads, math.prod(before), math.prod(after)))
            query, key, value = (
                tf.reshape(tf.transpose(x, order), (-1, math.prod(n), *x.shape[-2:]))
                for x, n in ((query, before), (key, after), (value, after))
            )
        rate = self.dropout if training else 0.0
        y = scaled_dot_product(
            query,
            key,
            value,
            mask=mask,
            scale=self._scale,
            causal=causal,
            window=self._sliding_window,
            rate=rate,
            seed=next_seed(self._dropout_layer.seed_generator) if rate else None,
            return_weights=return_weights,
        )
        y, p = y if return_weights else (y, None)
        if not flat:
            y = tf.reshape(y, (*batch, *before, *y.shape[-2:]))
            y = tf.transpose(y, [order.index(axis) for axis in range(rank)])
            if return_weights:
                p = tf.reshape(p, (*batch, p.shape[1], *before, *after))
        return y, p

    def _compute_attention_mask(
        self,
        query,
        value,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        use_causal_mask=False,
    ):
        """What hides keys, as one mask (B, T, S) with sizes 1 where all are alike, or None."""
        masks = [] if query_mask is None else [tf.cast(query_mask, tf.bool)[..., tf.newaxis]]
        masks += [
            tf.cast(mask, tf.bool)[..., tf.newaxis, :]
            for mask in (value_mask, key_mask)
            if mask is not None
        ]
        if use_causal_mask:
            masks.append(causal_mask(sizes(query)[1], sizes(value)[1])[tf.newaxis])
        if attention_mask is not None:
            masks.append(tf.cast(attention_mask, tf.bool))
        return functools.reduce(tf.logical_and, masks) if masks else None

    def compute_output_spec(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
    ):
        shape = self.compute_output_shape(
            query.shape, value.shape, None if key is None else key.shape
        )
        y = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if return_attention_scores:
            scores = self._scores_shape(query.shape, value.shape)
            return y, keras.KerasTensor(scores, dtype=self.compute_dtype)
        return y


def _check_lengths(value_shape, key_shape):
    """The shape of the keys; a ValueError unless there are as many as values."""
    key_shape = value_shape if key_shape is None else key_shape
    if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
        raise ValueError(
            "All dimensions of `value` and `key`, except the last one, must be equal. "
            f"Received: value_shape={value_shape} and key_shape={key_shape}"
        )
    return key_shape


@keras.saving.register_keras_serializable(package="custom_layers")
class MultiHeadAttention(_ProjectedAttention):
    """Attention of several heads, each with queries, keys and values of its own.

    Called with `query (B, T, ..., I)`, `value (B, S, ..., I')` and, if it differs, `key`; output
    `(B, T, ..., O)`, with O the query's I or `output_shape`; with `return_attention_scores` the
    weights `(B, K, T, S)` too, before dropout, for which their memory is needed. Weights `kernel`
    and `bias` of the projections `query`, `key`, `gate`, `value` and `attention_output`. Arguments
    are those of `keras.layers.MultiHeadAttention`; `flash_attention` changes nothing, for what it
    asks for (that the scores are never held) is so anyway.

    A key is hidden by `value_mask`, `key_mask` (Keras's masks of these inputs), `attention_mask
    (B, T, S)` or `(B, K, T, S)`, `use_causal_mask` and `sliding_window`. What Keras's masks hide
    has no influence, whatever it holds. A query that sees nothing gives the output's bias (Keras:
    that of the mean of all values).

    Raises:
        ValueError: a size is not a positive integer; `value` and `key` differ in length.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | tuple[int, ...] | None = None,
        attention_axes: int | tuple[int, ...] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        for name, size in {"num_heads": num_heads, "key_dim": key_dim}.items():
            check_size(name, size, "a positive integer")
        if value_dim is not None:
            check_size("value_dim", value_dim, "a positive integer or `None`")
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim or key_dim
        self.dropout = dropout
        self.use_bias = use_bias
        self._output_shape = _shape(output_shape)
        if isinstance(attention_axes, int):
            attention_axes = (attention_axes,)
        elif attention_axes and not isinstance(attention_axes, (list, tuple)):
            raise ValueError(
                "`attention_axes` must be an int, list, or tuple. "
                f"Received: attention_axes={attention_axes}"
            )
        self.attention_axes = attention_axes
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self._set_options(dropout, sliding_window, activity_regularizer, use_gate, seed)
        self._scale = 1 / math.sqrt(key_dim)

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = _check_lengths(value_shape, key_shape)
        rank = len(query_shape) + 1  # of the projected queries
        if self.attention_axes is None:
            self.attention_axes = tuple(range(1, rank - 2))
        else:
            self.attention_axes = tuple(a if a >= 0 else rank - 1 + a for a in self.attention_axes)
        self._axes = self.attention_axes
        of_keys, of_values = (self.num_heads, self.key_dim), (self.num_heads, self.value_dim)
        heads = "...i,ikd->...kd"
        self._query_dense = self._projection("query", query_shape, heads, of_keys)
        self._key_dense = self._projection("key", key_shape, heads, of_keys)
        if self._use_gate:
            self._gate_dense = self._projection("gate", query_shape, heads, of_values, "sigmoid")
        self._value_dense = self._projection("value", value_shape, heads, of_values)
        self._build_dropout()
        shape = self._output_shape or (query_shape[-1],)
        letters = "opqrstuvw"[: len(shape)]
        self._output_dense = self._projection(
            "attention_output",
            (*query_shape[:-1], *of_values),
            f"...kd,kd{letters}->...{letters}",
            shape,
        )

    @property
    def query_dense(self):
        """The projection of the queries."""
        return self._query_dense

    @property
    def key_dense(self):
        """The projection of the keys."""
        return self._key_dense

    @property
    def value_dense(self):
        """The projection of the values."""
        return self._value_dense

    @property
    def output_dense(self):
        """The projection of the output."""
        return self._output_dense

    def _attention_of(self, query, key, value, seen, training, return_attention_scores, options):
        arguments = (query, key, value, seen, training, return_attention_scores)
        return self._compute_attention(*arguments, **options)

    def _compute_attention(
        self,
        query,
        key,
        value,
        attention_mask=None,
        training=None,
        return_attention_scores=False,
        use_causal_mask=False,
    ):
        """(y, p or None) of projected queries, keys and values; a subclass may write another."""
        return self._attend(
            query, key, value, attention_mask, training, use_causal_mask, return_attention_scores
        )

    _PLAIN = _compute_attention

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        _check_lengths(value_shape, key_shape)
        if self._output_shape:
            return (*query_shape[:-1], *self._output_shape)
        return tuple(query_shape)

    def _scores_shape(self, query_shape, value_shape):
        axes = self.attention_axes or range(1, len(query_shape) - 1)
        axes = [axis if axis >= 0 else len(query_shape) + axis for axis in axes]
        batch = [n for axis, n in enumerate(query_shape[:-1]) if axis not in axes]
        each = [[shape[axis] for axis in axes] for shape in (query_shape, value_shape)]
        return (*batch, self.num_heads, *each[0], *each[1])

    def get_config(self):
        return {
            **super().get_config(),
            "output_shape": self._output_shape,
            "activity_regularizer": keras.regularizers.serialize(self._activity_regularizer),
        }


@keras.saving.register_keras_serializable(package="custom_layers")
class GroupedQueryAttention(_ProjectedAttention):
    """`MultiHeadAttention` with fewer heads of keys and values than of queries.

    Head k of the queries attends to head k // (num_query_heads / num_key_value_heads) of keys and
    values, which are not repeated for it. Called, masked and weighted as `MultiHeadAttention`, with
    `query (B, T, I)` and `value (B, S, I)`; output `(B, T, I)`. `keras.layers` calls it
    `GroupQueryAttention`, and so does this library.

    Raises:
        ValueError: a size is not a positive integer; the heads of queries are no multiple of those
            of keys and values; shapes of the inputs do not fit each other.
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        check_positive(
            head_dim=head_dim,
            num_query_heads=num_query_heads,
            num_key_value_heads=num_key_value_heads,
        )
        if num_query_heads % num_key_value_heads:
            raise ValueError(
                "`num_query_heads` must be divisible by `num_key_value_heads`. Received: "
                f"num_query_heads={num_query_heads}, num_key_value_heads={num_key_value_heads}"
            )
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.head_dim = head_dim
        self.num_query_heads = num_query_heads
        self.num_key_value_heads = num_key_value_heads
        self.num_repeats = num_query_heads // num_key_value_heads
        self.dropout = dropout
        self.use_bias = use_bias
        self.set_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.set_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self._set_options(dropout, sliding_window, activity_regularizer, use_gate, seed)
        self._scale, self._axes = 1 / math.sqrt(head_dim), (1,)

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = value_shape if key_shape is None else key_shape
        self.feature_dim = query_shape[-1]
        of_queries = (self.num_query_heads, self.head_dim)
        of_keys, heads = (self.num_key_value_heads, self.head_dim), "...i,ikd->...kd"
        self._query_dense = self._projection("query", query_shape, heads, of_queries)
        self._key_dense = self._projection("key", key_shape, heads, of_keys)
        if self._use_gate:
            self._gate_dense = self._projection("gate", query_shape, heads, of_queries, "sigmoid")
        self._value_dense = self._projection("value", value_shape, heads, of_keys)
        self._build_dropout()
        self._output_dense = self._projection(
            "attention_output",
            (*query_shape[:-1], *of_queries),
            "...kd,kdo->...o",
            (self.feature_dim,),
        )

    def _attention_of(self, query, key, value, seen, training, return_attention_scores, options):
        self._return_attention_scores = return_attention_scores
        return self._compute_attention(
            query, key, value, attention_mask=seen, training=training, **options
        )

    def _compute_attention(
        self,
        query,
        key,
        value,
        attention_mask=None,
        training=None,
        use_causal_mask=False,
    ):
        """(y, p or None) of projected queries, keys and values; a subclass may write another."""
        return self._attend(
            query,
            key,
            value,
            attention_mask,
            training,
            use_causal_mask,
            getattr(self, "_return_attention_scores", False),
        )

    _PLAIN = _compute_attention

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        if query_shape[-1] != value_shape[-1]:
            raise ValueError(
                "The last dimension of `query_shape` and `value_shape` must be equal, but are "
                f"{query_shape[-1]}, {value_shape[-1]}. Received: query_shape={query_shape}, "
                f"value_shape={value_shape}"
            )
        _check_lengths(value_shape, key_shape)
        return query_shape

    def _scores_shape(self, query_shape, value_shape):
        return (query_shape[0], self.num_query_heads, query_shape[1], value_shape[1])

    def get_config(self):  # which may then lack `flash_attention`, as Keras's does
        return super().get_config()


def check_size(name, size, expected):
    """Raise a ValueError in Keras's words unless a size is a positive integer."""
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise ValueError(
            f"Received an invalid value for argument `{name}`, expected {expected}. "
            f"Received: {name}={size}"
        )


def _shape(output_shape):
    """None, or a tuple of sizes."""
    if not output_shape or isinstance(output_shape, int):
        return (output_shape,) if output_shape else None
    try:
        return tuple(output_shape)
    except TypeError:
        raise ValueError(
            f"Invalid `output_shape`: {output_shape}. When specified, the `output_shape` should "
            "be of type tuple, list, or int."
        ) from None
