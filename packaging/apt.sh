# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Sourced by install-packages and fetch-package: how this tree talks to apt.

export DEBIAN_FRONTEND=noninteractive

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Run a command as root, with sudo when we are not.
as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Stop here rather than inside a command whose messages are held back.
need_root()
{
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
		die "needs root and there is no sudo: as root, run: $*"
}

# Run a command quietly; its output is shown only when it fails.
quietly()
{
	local log status=0

	log=$(mktemp) || die "cannot make a temporary file: is ${TMPDIR:-/tmp} full?"
	"$@" >"$log" 2>&1 </dev/null || status=$?
	[ "$status" = 0 ] || cat "$log" >&2
	rm -f "$log"
	return "$status"
}

update_index()
{
	need_root apt-get update
	echo "updating apt's package index" >&2
	quietly as_root apt-get -q update
}
