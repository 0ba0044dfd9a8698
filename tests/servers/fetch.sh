#!/usr/bin/env bash
# Makes target/servers/root: a small Debian with mail servers, a message broker and callers of sendmail in it, which the
# tests run by chroot.
#
# Packages are downloaded and unpacked, never installed: no script of theirs runs, no daemon starts, and nothing of
# this machine changes. So servers that exclude each other as packages lie side by side, users and paths that are
# compiled into them exist, and what is installed here or not makes no difference.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" != 0 ]; then
    echo "tests/run: the servers of the tests run by chroot, which needs root" >&2
    exit 1
fi

# One line per group; what is in two groups may conflict as packages. The later wins a file that two of them bring.
groups=(
    "exim4-daemon-light"
    "opensmtpd"
    "postfix dovecot-lmtpd gnome-keyring dbus-daemon dbus-bin libsecret-tools coreutils dash"
    "rabbitmq-server python3-pika coreutils dash"
    "cron libpam-modules mutt s-nail bsd-mailx php-cli git git-email libmailtools-perl perl libc-bin coreutils dash"
)
servers=target/servers
# Whoever changes this file fetches anew.
wanted=$(sha256sum < tests/servers/fetch.sh)
is_fetched() {
    [ "$(cat "$servers/root/fetched" 2> /dev/null)" = "$wanted" ]
}
if is_fetched; then
    exit 0
fi
mkdir -p "$servers"
# Each server that runs holds a share in this lock.
exec 9> "$servers/lock"
flock 9
if is_fetched; then
    exit 0
fi
if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
    echo "tests/run: the servers of the tests are Debian packages; there is no apt-get here" >&2
    exit 1
fi
echo "tests/run: fetching mail servers into $servers (once)" >&2

# apt with lists, cache and status of its own. What packages want for their scripts only, or for what no test does, is
# said to be there.
apt=$(realpath "$servers")/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
cat > "$apt/status" << 'END'
Package: nothing-of-this-is-used
Status: install ok installed
Architecture: all
Version: 1
Maintainer: nobody <nobody@example.test>
Description: stands for what nothing here uses
Provides: adduser (= 9999), cpio (= 9999), cron (= 9999), dbus-session-bus, dbus-session-bus-common (= 9999),
 debconf (= 9999), debconf-2.0, default-dbus-session-bus, default-mta, dpkg (= 9999), e2fsprogs (= 9999),
 exim4-config (= 9999), exim4-config-2, gcr (= 9999), gpg (= 9999), init-system-helpers (= 9999),
 libcurl3-gnutls (= 9999), libpam-runtime (= 9999), libpam-systemd (= 9999), logrotate (= 9999), lsb-base (= 9999),
 media-types (= 9999), netbase (= 9999), openssl (= 9999), perl (= 9999), pinentry-gnome3 (= 9999), procps (= 9999),
 psmisc (= 9999), python3 (= 9999), python3:any (= 9999), socat (= 9999), ssl-cert (= 9999), sysvinit-utils (= 9999),
 tar (= 9999), ucf (= 9999), xz-utils (= 9999)
END
apt_get() {
    apt-get -qq -o Dir::State="$apt" -o Dir::State::Lists="$apt/lists" -o Dir::State::status="$apt/status" \
        -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root -o APT::Install-Recommends=no \
        -o Acquire::Retries=3 -o Acquire::Languages=none "$@"
}
# A source that does not answer is no harm as long as the packages are found.
apt_get update >&2 || true

root=$servers/root
rm -rf "$root"
mkdir -p "$root"/{dev,etc,home,proc,root,run,tmp,srv,usr/bin,usr/sbin,usr/lib,usr/lib64}
mkdir -p "$root"/var/{lib/opensmtpd/empty,spool/smtpd}
for folder in bin sbin lib lib64; do
    ln -s "usr/$folder" "$root/$folder"
done
ln -s ../run "$root/var/run"
for group in "${groups[@]}"; do
    rm -f "$apt"/cache/archives/*.deb
    # shellcheck disable=SC2086
    apt_get install --yes --download-only $group >&2
    for package in "$apt"/cache/archives/*.deb; do
        # Unlike dpkg -x this follows the links above. Of /usr/share only perl and zoneinfo are needed.
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink \
            --exclude './usr/share/[!pz]*' --exclude './etc/init.d' --exclude './lib/systemd'
    done
done
rm -rf "$apt"
# A link that a script of a package makes, and what mailsend is mounted over; /usr/sbin/sendmail is Postfix's.
ln -s "$(basename "$root"/usr/bin/php[0-9]*)" "$root/usr/bin/php"
touch "$root"/usr/bin/{mail,mailsend}

mknod "$root/dev/null" c 1 3
mknod "$root/dev/zero" c 1 5
mknod "$root/dev/random" c 1 8
mknod "$root/dev/urandom" c 1 9
chmod 666 "$root"/dev/*
chmod 1777 "$root/tmp"
chmod 711 "$root/var/spool/smtpd"
cat > "$root/etc/passwd" << 'END'
root:x:0:0::/root:/bin/sh
postfix:x:101:101::/:/bin/false
dovecot:x:102:102::/:/bin/false
dovenull:x:103:103::/:/bin/false
Debian-exim:x:104:104::/:/bin/false
opensmtpd:x:105:105::/var/lib/opensmtpd/empty:/bin/false
opensmtpq:x:106:106::/var/lib/opensmtpd/empty:/bin/false
www-data:x:33:33::/var/www:/bin/false
mailbox:x:1000:1000::/:/bin/false
carla:x:1001:1001:Carla Caller:/home/carla:/bin/sh
nobody:x:65534:65534::/:/bin/false
END
cut -d: -f1,2,4 "$root/etc/passwd" | sed 's/$/:/' > "$root/etc/group"
echo 'postdrop:x:107:' >> "$root/etc/group"
echo '127.0.0.1 localhost mx.example.test' > "$root/etc/hosts"
printf '%s: files\n' passwd group hosts services > "$root/etc/nsswitch.conf"
printf '%s\n' 'smtp 25/tcp' 'lmtp 24/tcp' 'submissions 465/tcp' 'submission 587/tcp' > "$root/etc/services"
echo "$wanted" > "$root/fetched"
