#!/bin/sh
# Makes small.txt: what GNU tar says of small.oci.tar, with the owner's numbers and whole times.
# small.oci.tar itself was written by scratch_image.archive from ../layer/small.tar and an empty tar.
cd "$(dirname "$0")" && LC_ALL=C TZ=UTC tar --full-time -tvf small.oci.tar > small.txt
