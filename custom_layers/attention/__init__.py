"""attention: each position takes a weighted mean of others, the weights made of how well they fit.

Begin with scaled_dot_product.py, the formula and its backward, on which all other files stand;
attention.py has no projections, multi_head_attention.py has those of einsum_dense.py, and
rotary_embedding.py turns queries and keys by their positions.
"""
