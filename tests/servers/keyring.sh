#!/usr/bin/env bash
# A private D-Bus with an empty, unlocked gnome-keyring; keyring.sh STATE locked: with a locked one.
# Prints "bus ADDRESS".
. "$(dirname "$0")/common.sh"

# The abstract namespace is the same within and without, and its names may be long.
bus=unix:abstract=mailsend-test-$$-$RANDOM
mkdir -p "$state"/{home,run}
chmod 700 "$state/run"
cat > "$state/bus.conf" << END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>$bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
END
run dbus-daemon --nofork --config-file="$inside/bus.conf"
export DBUS_SESSION_BUS_ADDRESS=$bus HOME=$inside/home XDG_RUNTIME_DIR=$inside/run XDG_DATA_HOME=$inside/home
is_on_the_bus() {
    within dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner \
        "string:$1" | grep -q 'boolean true'
}
until_true is_on_the_bus org.freedesktop.DBus
# The password makes the collection "login"; the daemon ends with its bus.
printf keys > "$state/keys"
${root:+chroot "$root"} gnome-keyring-daemon --foreground --unlock --components=secrets \
    < "$state/keys" >> "$state/output" 2>&1 8>&- &
until_true is_on_the_bus org.freedesktop.secrets
if [ "${2:-open}" = locked ]; then
    within dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \
        org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/collection/login >> "$state/output"
fi
echo "bus $bus"
ready
