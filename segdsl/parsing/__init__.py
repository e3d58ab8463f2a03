"""From text to tokens to a syntax tree: scanner, brackets, table-driven parser, recovery."""
