#!/bin/sh
# mirror.sh FROM TO: makes the files of TO those of FROM, but for TO's `target`.
#
# Cargo goes by times. A file that stays as it is keeps its own, one that differs is written anew;
# so what a compiler made of TO stays good for as long as its sources are the same.
set -eu
from=$1 to=$2
(cd "$from" && find . -type f) | while read -r file; do
    cmp -s "$from/$file" "$to/$file" && continue
    mkdir -p "$to/$(dirname "$file")"
    cp "$from/$file" "$to/$file"
done
(cd "$to" && find . -path ./target -prune -o -type f -print) | while read -r file; do
    [ -e "$from/$file" ] || rm "$to/$file"
done
