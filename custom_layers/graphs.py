"""graphs: the preparation of graphs for the graph layers; written in `graph/`, public here."""

from custom_layers.graph.preparation import add_reverse_edges as add_reverse_edges
from custom_layers.graph.preparation import check_edges as check_edges
from custom_layers.graph.preparation import incoming_edges as incoming_edges
from custom_layers.graph.preparation import normalize_edges as normalize_edges
from custom_layers.graph.preparation import pack as pack
from custom_layers.graph.preparation import sample_neighbors as sample_neighbors
from custom_layers.graph.preparation import to_edges as to_edges
