"""The playground: engine, exporter, page."""
