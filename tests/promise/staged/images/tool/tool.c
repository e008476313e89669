#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    char path[PATH_MAX] = "", line[80];
    if (readlink("/proc/self/exe", path, sizeof path - 20) < 0)
        return 1;
    strcpy(strrchr(path, '/'), "/../etc/tool.conf");
    FILE *settings = fopen(path, "r");
    return !settings || !fgets(line, sizeof line, settings) || puts(line) < 0;
}
