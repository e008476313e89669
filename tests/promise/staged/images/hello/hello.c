#include <stdio.h>

void greet(const char *name);

int main(int count, char **words) {
    char line[80];
    FILE *names = count > 1 ? fopen(words[1], "r") : NULL;
    if (!names)
        return 1;
    while (fgets(line, sizeof line, names))
        greet(line);
    return 0;
}
