#!/usr/bin/env bash
# OpenSMTPD, without TLS: that of Debian 12 ends every handshake with an alert.
# Mail for everybody @example.test lies in a maildir STATE/mail/NAME, except for those named refused.
. "$(dirname "$0")/common.sh"

# Its spool and its socket have fixed places.
exec 9> "$root/run/smtpd.lock"
flock 9
smtp=$(free_port)
mkdir -p "$state/mail"
chown -R 1000:1000 "$state/mail"
chmod 755 "$state"
cat > "$state/smtpd.conf" << END
table users { "@example.test" = "mailbox" }
smtp max-message-size 8M
listen on 127.0.0.1 port $smtp hostname mx.example.test
action "deliver" maildir "$inside/mail/%{rcpt.user:lowercase}" virtual <users>
match from any for rcpt-to "refused@example.test" reject
match from any for domain "example.test" action "deliver"
END
run /usr/sbin/smtpd -d -f "$inside/smtpd.conf"
until_true greets "$smtp"
echo "smtp $smtp"
ready
