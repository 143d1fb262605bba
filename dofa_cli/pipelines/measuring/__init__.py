"""How fast a machine is, how fast a network runs on it, and what bounds a whole scene."""
