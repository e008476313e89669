/* Succeeds when it runs as nobody. */
#include <unistd.h>

int main(void)
{
	return geteuid() != 65534;
}
