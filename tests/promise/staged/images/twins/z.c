const char *zlibVersion(void) { return "ours"; }
