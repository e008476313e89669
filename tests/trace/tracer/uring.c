/* Opens a file by io_uring, or plainly where there is none. */
#include <fcntl.h>
#include <liburing.h>

int main(void)
{
	struct io_uring ring;
	struct io_uring_sqe *request;
	if (io_uring_queue_init(4, &ring, 0) < 0)
		return open("d/b.txt", O_RDONLY) < 0;
	request = io_uring_get_sqe(&ring);
	io_uring_prep_openat(request, AT_FDCWD, "d/b.txt", O_RDONLY, 0);
	io_uring_submit(&ring);
	return 1;
}
