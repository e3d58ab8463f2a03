"""Receptive fields: exact, for every stage, phase and branch.

`tables.reach` answers for every input size, `concrete.fields` at a given one, `support.pixel` for
one pixel in two dimensions; `alignment` maps centres, `findings` collects what is suspicious.
"""
