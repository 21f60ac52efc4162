"""Records -> numbers ready to draw or to put into a table; nothing here draws or computes twice.

Errors are fractions between 0 and 1, times are seconds, epochs and iterations count from 1. One
rule says which trials a final error is taken from: those that completed their budget of epochs
without diverging. The others are counted in a :class:`Tally`, never dropped in silence.
"""
