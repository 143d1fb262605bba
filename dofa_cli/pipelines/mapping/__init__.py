"""A scene through a head: logits to classes, numbers, files."""
