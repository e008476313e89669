#include <stdio.h>

const char *zlibVersion(void);

int main(void) { return puts(zlibVersion()) < 0; }
