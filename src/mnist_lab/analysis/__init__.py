"""Turn records into numbers for figures and tables; nothing here draws or computes twice.

Errors are fractions between 0 and 1, times are seconds, epochs and iterations count from 1. Final
errors come only from trials that completed their budget of epochs without diverging. The others
are counted in a :class:`Tally`, never dropped silently.
"""
