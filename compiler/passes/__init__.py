"""Rewrites of a graph that change no result: each is a pure function `Graph -> Graph`."""
