"""recurrent: cells and the loop over time.

Begin with simple_rnn.py, then lstm.py and gru.py. They stand on recurrence.py (the loop, slopes,
products) and rnn.py (a cell as a layer: masks, states, directions).
"""
