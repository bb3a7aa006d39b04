"""Fuzz targets for all parsers of outside input: `make fuzz`."""
