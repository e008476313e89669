"""The ways out: the engine's API, registries, credentials and proxies."""
