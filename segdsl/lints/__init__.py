"""Lints: programs that mean something, but probably not what the writer meant (W7xxx).

They run over programs without errors, in `segdsl check` only: no other command waits for them.
"""
