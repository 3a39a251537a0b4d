"""The proofs, for the layers here and for those that you write yourself.

    check_layer(lambda: MyLayer(3), x)           every promise of a layer, as a table
    check_backward(layer, x)                     the gradient is the derivative, first and second
    check_twin(Dense, keras.layers.Dense, dict(units=3), x)       drops in for Keras's layer
    check_signature(Dense, keras.layers.Dense)   the same arguments, order and defaults

Begin with `proof.py`, which lists the promises; each is a function in the file beside it.
"""

from custom_layers.checks.backward import check_backward as check_backward
from custom_layers.checks.near import TOLERANCE as TOLERANCE
from custom_layers.checks.near import assert_near as assert_near
from custom_layers.checks.proof import ALL as ALL
from custom_layers.checks.proof import check_layer as check_layer
from custom_layers.checks.report import CannotCheck as CannotCheck
from custom_layers.checks.report import Finding as Finding
from custom_layers.checks.report import Report as Report
from custom_layers.checks.twin import check_signature as check_signature
from custom_layers.checks.twin import check_twin as check_twin
