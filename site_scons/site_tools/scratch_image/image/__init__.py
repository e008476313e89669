"""The image: settings, layers, config and manifest, and the one archive that holds them."""
