#!/bin/bash
# A script that leaves the work to others.
set -eu
sed 's/,/ /' | awk '{ sum[$1] += $2 } END { for (name in sum) print name, sum[name] }' | grep -v '^#' | sort
