"""A CRF alone, on anybody's scores and picture: `segdsl refine`."""
