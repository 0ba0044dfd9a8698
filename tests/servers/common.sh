# What the start scripts share. Each is called as SCRIPT STATE [MORE]..., STATE being a folder below target/servers/root/srv
# with the certificate of the server in it. It prints "NAME PORT" lines and then "ready", and runs until its standard
# input ends: so it ends with the tests, however these end. Then STATE is removed.
set -euo pipefail

state=$(realpath "$1")
# The small Debian that fetch.sh has made, and STATE as it is seen from within. Without one the machine's programs run.
case $state in
    */root/srv/*) root=${state%/srv/*} inside=${state#"$root"} ;;
    *) root='' inside=$state ;;
esac
server=
if [ -n "$root" ]; then
    exec 8< "$root/../lock"
    flock --shared 8
fi

within() {
    ${root:+chroot "$root"} "$@"
}

# A port below those that the system gives away by itself.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
    echo "$port"
}

# Runs a server in the background.
run() {
    # A signal must reach the server itself, so no function stands in between.
    ${root:+chroot "$root"} "$@" < /dev/null >> "$state/output" 2>&1 8>&- &
    server=$!
}

stop() {
    trap '' TERM INT HUP
    if [ -n "$server" ]; then
        kill -TERM "$server" 2> /dev/null || true
        for _ in $(seq 50); do
            kill -0 "$server" 2> /dev/null || break
            sleep 0.1
        done
        kill -KILL "$server" 2> /dev/null || true
    fi
    rm -rf "$state"
}
trap stop EXIT
trap 'exit 143' TERM INT HUP

# Waits until this command succeeds: 10 s, or as many 50 ms as patience says.
until_true() {
    for _ in $(seq "${patience:-200}"); do
        if "$@" 2> /dev/null; then
            return
        fi
        kill -0 "$server" 2> /dev/null || break
        sleep 0.05
    done
    echo "$0 did not start:" >&2
    tail -n 50 "$state/output" "$state"/*.log >&2 || true
    exit 1
}

# Something listens on the port and greets. A shell of its own, because a refused connection ends it.
greets() (
    exec 3<> "/dev/tcp/127.0.0.1/$1"
    read -r -t 5 greeting <&3
    [[ $greeting == 220* ]]
)

# Says that the server runs, and lets it run until nobody wants it any more.
ready() {
    echo ready
    while read -r _; do :; done
}
