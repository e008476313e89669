#include <stdio.h>
#include "version.h"

int main(void) {
    puts("hello, version " VERSION);
    return 0;
}
