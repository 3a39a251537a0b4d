"""Keras's own tests, which its wheel ships, run against the classes here.

    make keras-suite                                  everything, half an hour on two cores
    make keras-suite MODULES="dense_test lstm_test"   two of Keras's test modules

swap.py        puts our classes where Keras's tests look for Keras's
plugin.py      does so inside pytest, and writes down what came of each test
run.py         runs Keras's test modules, unmodified and with our classes, and prints both
left_out.txt   the tests that ours need not pass, each with its reason
broken.py      wrong layers, to see that the suite notices

What Keras's tests do not look at, such as gradients, is proven by our own.
"""
