/* A 32-bit call out of a 64-bit program. */
#include <string.h>
#include <sys/mman.h>

int main(void)
{
	int result;
	char *name = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	strcpy(name, "d/b.txt");
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(5), "b"(name), "c"(0), "d"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	return result < 0;
}
