/* Opens what its arguments name; 32-bit and static, too. */
#include <fcntl.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (open(argv[i], O_RDONLY) < 0)
			return 1;
	return 0;
}
