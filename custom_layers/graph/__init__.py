"""graph: convolutions over nodes and edges, and pooling of nodes to graphs.

Begin with graph_conv.py. All stand on segments.py (gather, sum, maximum, softmax along edges) and
graph_layer.py (flat or batched, padding, masks); preparation.py is public as custom_layers.graphs.
"""
