/* Libraries that no program header names. */
#include <dlfcn.h>
#include <iconv.h>

int main(void)
{
	return !dlopen("libz.so.1", RTLD_NOW) || iconv_open("SHIFT_JIS", "UTF-8") == (iconv_t)-1;
}
