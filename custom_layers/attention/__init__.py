"""attention: each position takes a weighted mean of others, the weights made of how well they fit.

Begin with scaled_dot_product.py, the formula and its backward, on which all other files stand;
attention.py and additive_attention.py have no projections, multi_head_attention.py and
grouped_query_attention.py do. rotary_embedding.py turns queries and keys by their positions.
"""
