"""How good a head or a map is: scores, intervals, areas, comparisons, and the report. Plain arrays in, text out."""
