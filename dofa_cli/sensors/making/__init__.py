"""Make a sensor file of flags, headers, catalogues, tables or a known sensor."""
