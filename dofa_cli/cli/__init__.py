"""The command line: parse, call one function, print. Heavy imports stand inside command bodies."""
