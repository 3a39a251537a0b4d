"""core: maps of the last axis and tables of vectors.

Begin with dense.py, the shortest whole layer of the library: formula, derivative, code.
Embedding looks rows up; EmbeddingBag sums them with weights.
"""
