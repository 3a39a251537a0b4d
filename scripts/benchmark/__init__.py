"""How fast this is, beside Keras, PyTorch and PyG."""
