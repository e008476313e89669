/* Opens files with odd names, and goes deeper than any path can say. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	const char *names[] = {"q\"uote", "back\\slash", "new\nline", "\377\376", "caf\303\251",
			       "a<b>c", "a, b) = 3", " <unfinished ...>", "ctl\001\0022", "tab\t",
			       "x (deleted)", "it's", NULL};
	char name[251];
	chdir("odd");
	for (int i = 0; names[i]; i++)
		if (open(names[i], O_RDONLY) < 0)
			return 1;
	memset(name, 'L', 250);
	name[250] = 0;
	for (int i = 0; i < 20; i++) {
		mkdir(name, 0755);
		chdir(name);
	}
	return open("deep", O_CREAT | O_RDWR, 0644) < 0;
}
