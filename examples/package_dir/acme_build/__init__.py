"""SCons tools that the projects of a firm share; the plugin is a copy or a submodule in here."""
