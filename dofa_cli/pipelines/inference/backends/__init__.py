"""Which backend computes a scene, what it needs to know of the scene, and how exact it is."""
