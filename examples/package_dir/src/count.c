#include <ctype.h>
#include <stdio.h>

int main(void) {
    int words = 0, inside = 0;
    for (int c; (c = getchar()) != EOF;) {
        words += !isspace(c) && !inside;
        inside = !isspace(c);
    }
    printf("%d words\n", words);
    return 0;
}
