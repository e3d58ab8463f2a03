"""Read-only questions about a graph.

Each answers with a table and writes nothing into the graph.
"""
