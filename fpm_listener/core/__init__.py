"""The pure core: values in, values out; no clock, no thread, no file, no network."""
