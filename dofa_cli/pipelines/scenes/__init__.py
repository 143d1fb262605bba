"""What a scene is: its instrument, bands, product and rules, settled and checked."""
