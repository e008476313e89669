#!/bin/sh
# Makes small.txt: what GNU tar says of small.tar, with the owner's numbers and whole times.
# small.tar itself was written by scratch_image.layer and checked by reading this listing.
cd "$(dirname "$0")" && LC_ALL=C TZ=UTC tar --full-time -tvf small.tar > small.txt
