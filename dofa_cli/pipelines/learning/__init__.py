"""From labels to a head: what to learn from, how it is split, what was learnt."""
