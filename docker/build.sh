#!/bin/sh
# Builds the programs that go into images.
set -eu
exec cargo build --release --locked ${JOBS:+--jobs "$JOBS"} \
    --package auth --package gateway --package converter --package notification --package mp3converter
