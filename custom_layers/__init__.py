"""custom_layers: Keras layers whose forward and backward are written out, proven and fast."""

from custom_layers import checks as checks
from custom_layers import convert as convert
from custom_layers import graphs as graphs
from custom_layers import pickling as pickling
from custom_layers._version import __version__ as __version__
from custom_layers.activations.activation import Activation as Activation
from custom_layers.activations.elu import ELU as ELU
from custom_layers.activations.leaky_relu import LeakyReLU as LeakyReLU
from custom_layers.activations.prelu import PReLU as PReLU
from custom_layers.activations.relu import ReLU as ReLU
from custom_layers.activations.softmax import Softmax as Softmax
from custom_layers.attention.attention import AdditiveAttention as AdditiveAttention
from custom_layers.attention.attention import Attention as Attention
from custom_layers.attention.einsum_dense import EinsumDense as EinsumDense
from custom_layers.attention.multi_head_attention import (
    GroupedQueryAttention as GroupedQueryAttention,
)
from custom_layers.attention.multi_head_attention import MultiHeadAttention as MultiHeadAttention
from custom_layers.attention.rotary_embedding import RotaryEmbedding as RotaryEmbedding
from custom_layers.convolutional.conv import Conv1D as Conv1D
from custom_layers.convolutional.conv import Conv2D as Conv2D
from custom_layers.convolutional.conv import Conv3D as Conv3D
from custom_layers.convolutional.conv_transpose import Conv1DTranspose as Conv1DTranspose
from custom_layers.convolutional.conv_transpose import Conv2DTranspose as Conv2DTranspose
from custom_layers.convolutional.conv_transpose import Conv3DTranspose as Conv3DTranspose
from custom_layers.core.dense import Dense as Dense
from custom_layers.core.embedding import Embedding as Embedding
from custom_layers.core.embedding_bag import EmbeddingBag as EmbeddingBag
from custom_layers.graph.appnp import APPNP as APPNP
from custom_layers.graph.cheb_conv import ChebConv as ChebConv
from custom_layers.graph.edge_conv import EdgeConv as EdgeConv
from custom_layers.graph.gat_conv import GATConv as GATConv
from custom_layers.graph.gat_conv import GATv2Conv as GATv2Conv
from custom_layers.graph.gin_conv import GINConv as GINConv
from custom_layers.graph.graph_conv import GraphConv as GraphConv
from custom_layers.graph.graph_pooling import GraphAttentionPooling as GraphAttentionPooling
from custom_layers.graph.graph_pooling import GraphAveragePooling as GraphAveragePooling
from custom_layers.graph.graph_pooling import GraphMaxPooling as GraphMaxPooling
from custom_layers.graph.graph_pooling import GraphSumPooling as GraphSumPooling
from custom_layers.graph.rgcn_conv import RGCNConv as RGCNConv
from custom_layers.graph.sage_conv import SAGEConv as SAGEConv
from custom_layers.graph.sg_conv import SGConv as SGConv
from custom_layers.normalization.batch_norm import BatchNormalization as BatchNormalization
from custom_layers.normalization.group_norm import GroupNormalization as GroupNormalization
from custom_layers.normalization.layer_norm import LayerNormalization as LayerNormalization
from custom_layers.normalization.rms_norm import RMSNormalization as RMSNormalization
from custom_layers.normalization.unit_norm import UnitNormalization as UnitNormalization
from custom_layers.pooling.global_pooling import GlobalAveragePooling1D as GlobalAveragePooling1D
from custom_layers.pooling.global_pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
from custom_layers.pooling.global_pooling import GlobalAveragePooling3D as GlobalAveragePooling3D
from custom_layers.pooling.global_pooling import GlobalMaxPooling1D as GlobalMaxPooling1D
from custom_layers.pooling.global_pooling import GlobalMaxPooling2D as GlobalMaxPooling2D
from custom_layers.pooling.global_pooling import GlobalMaxPooling3D as GlobalMaxPooling3D
from custom_layers.pooling.global_pooling import GlobalSumPooling1D as GlobalSumPooling1D
from custom_layers.pooling.pooling import AveragePooling1D as AveragePooling1D
from custom_layers.pooling.pooling import AveragePooling2D as AveragePooling2D
from custom_layers.pooling.pooling import AveragePooling3D as AveragePooling3D
from custom_layers.pooling.pooling import MaxPooling1D as MaxPooling1D
from custom_layers.pooling.pooling import MaxPooling2D as MaxPooling2D
from custom_layers.pooling.pooling import MaxPooling3D as MaxPooling3D
from custom_layers.recurrent.gru import GRU as GRU
from custom_layers.recurrent.gru import GRUCell as GRUCell
from custom_layers.recurrent.lstm import LSTM as LSTM
from custom_layers.recurrent.lstm import LSTMCell as LSTMCell
from custom_layers.recurrent.rnn import RNN as RNN
from custom_layers.recurrent.simple_rnn import SimpleRNN as SimpleRNN
from custom_layers.recurrent.simple_rnn import SimpleRNNCell as SimpleRNNCell
from custom_layers.regularization.activity_regularization import (
    ActivityRegularization as ActivityRegularization,
)
from custom_layers.regularization.dropout import Dropout as Dropout
from custom_layers.regularization.dropout import SpatialDropout1D as SpatialDropout1D
from custom_layers.regularization.dropout import SpatialDropout2D as SpatialDropout2D
from custom_layers.regularization.dropout import SpatialDropout3D as SpatialDropout3D
from custom_layers.regularization.regularizers import L1 as L1
from custom_layers.regularization.regularizers import L1L2 as L1L2
from custom_layers.regularization.regularizers import L2 as L2
from custom_layers.reshaping.flatten import Flatten as Flatten

# Keras's other names of them.
AvgPool1D = AveragePooling1D
AvgPool2D = AveragePooling2D
AvgPool3D = AveragePooling3D
Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
GroupQueryAttention = GroupedQueryAttention
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
MaxPool1D = MaxPooling1D
MaxPool2D = MaxPooling2D
MaxPool3D = MaxPooling3D
