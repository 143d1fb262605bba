"""Many scenes in one run: listed, named, run one by one or several at once, reported, and resumed."""
