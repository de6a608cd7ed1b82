#!/bin/sh
# Installs kmsfs: sh packaging/install.sh BINARY
#
# DESTDIR  root to install below (default none), for packages
# PREFIX   of the binary, the unit and the documents (default /usr/local)
# SBINDIR  where mount(8) looks for helpers (default /sbin)
set -eu

binary=${1:?usage: install.sh BINARY}
destdir=${DESTDIR:-}
prefix=${PREFIX:-/usr/local}
sbindir=${SBINDIR:-/sbin}
here=$(dirname "$0")

install -D -m 0755 "$binary" "$destdir$prefix/bin/kmsfs"

# `mount -t kmsfs` and fstab lines call the helper by this name.
install -d "$destdir$sbindir"
ln -sfn "$prefix/bin/kmsfs" "$destdir$sbindir/mount.kmsfs"

install -d "$destdir$prefix/lib/systemd/system"
sed "s|@BINDIR@|$prefix/bin|g" "$here/kmsfs@.service" >"$destdir$prefix/lib/systemd/system/kmsfs@.service"
chmod 0644 "$destdir$prefix/lib/systemd/system/kmsfs@.service"

install -D -m 0644 "$here/example.toml" "$destdir$prefix/share/doc/kmsfs/example.toml"
install -d -m 0755 "$destdir/etc/kmsfs"
