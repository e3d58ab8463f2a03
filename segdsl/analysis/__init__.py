"""Read-only questions about a graph; each answers with a table and writes nothing into the graph."""
