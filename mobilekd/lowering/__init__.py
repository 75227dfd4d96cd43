"""From a trained student to an accepted artifact: quantise, lower, compare every step, then refuse
or write.

Add here a gate, a stage or a precision's preparation. Never imports commands; what is particular to
one file format belongs to its backend.
"""
