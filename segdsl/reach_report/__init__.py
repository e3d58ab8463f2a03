"""What `segdsl rf` reports: stages, their receptive fields as JSON and as a table, explanations.

`stages` finds and names the values to speak of, `rows` collects the figures, `text` draws the
table, `explain` tells which operators made a field grow.
"""
