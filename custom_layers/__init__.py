"""custom_layers: Keras layers whose forward and backward are written out, proven and fast."""

from custom_layers._version import __version__ as __version__
from custom_layers.dense import Dense as Dense
from custom_layers.dropout import Dropout as Dropout
from custom_layers.dropout import SpatialDropout1D as SpatialDropout1D
from custom_layers.dropout import SpatialDropout2D as SpatialDropout2D
from custom_layers.dropout import SpatialDropout3D as SpatialDropout3D
from custom_layers.layer_norm import LayerNormalization as LayerNormalization
from custom_layers.regularizers import L1 as L1
from custom_layers.regularizers import L1L2 as L1L2
from custom_layers.regularizers import L2 as L2
