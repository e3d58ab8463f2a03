"""From syntax tree to graph: names, arguments, blocks, loops, paths, shapes."""
