#!/usr/bin/env bash
# Postfix: postfix.sh STATE LOGIN, where LOGIN is the socket of a Dovecot, as seen from within.
# Takes mail for everybody @example.test into the maildir STATE/mail/all, except for those named refused, and from
# nobody else than who has logged in.
. "$(dirname "$0")/common.sh"
login=$2

smtp=$(free_port) submission=$(free_port) submissions=$(free_port) wrong_host=$(free_port) old=$(free_port)
clear=$(free_port)
mkdir -p "$state"/{etc,data,mail/all}
for folder in active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace; do
    mkdir -p "$state/queue/$folder"
done
chown -R 101:101 "$state"/{queue,data}
chown root "$state"/queue "$state/queue/pid"
chgrp 107 "$state"/queue/{maildrop,public}
chown -R 1000:1000 "$state/mail"
chmod 755 "$state"
cat > "$state/etc/main.cf" << END
compatibility_level = 3.6
queue_directory = $inside/queue
data_directory = $inside/data
maillog_file = $inside/postfix.log
maillog_file_prefixes = $inside
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.test
myorigin = example.test
mydestination =
mynetworks = 127.0.0.1
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
# Nothing leaves this machine.
default_transport = error:5.4.4 no way out of here
disable_dns_lookups = yes
smtp_host_lookup = native
virtual_mailbox_domains = example.test, xn--bcher-kva.test
virtual_mailbox_base = $inside/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:1000
virtual_gid_maps = static:1000
message_size_limit = 8000000
virtual_mailbox_limit = 0
smtputf8_enable = yes
smtpd_peername_lookup = no
# Headers stay as they come, as those of strangers do.
local_header_rewrite_clients =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access regexp:$inside/etc/recipients
# Tests send more than people do.
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
in_flow_delay = 0
smtpd_tls_cert_file = $inside/good.pem
smtpd_tls_key_file = $inside/good.key
smtpd_tls_received_header = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = $login
notify_classes =
END
cat > "$state/etc/recipients" << 'END'
/^refused/   550 5.1.1 There is nobody of this name
/^later/     451 4.7.1 Come again later
END
relay='smtpd_relay_restrictions=permit_sasl_authenticated,reject'
{
    echo "127.0.0.1:$smtp inet n - n - - smtpd"
    echo "127.0.0.1:$submission inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=yes" \
        "-o smtpd_sasl_auth_enable=yes -o $relay"
    echo "127.0.0.1:$submissions inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes -o $relay"
    echo "127.0.0.1:$wrong_host inet n - n - - smtpd -o smtpd_tls_security_level=encrypt" \
        "-o smtpd_tls_cert_file=$inside/wrong-host.pem -o smtpd_tls_key_file=$inside/wrong-host.key"
    echo "127.0.0.1:$old inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes -o $relay" \
        "-o smtpd_tls_mandatory_protocols=TLSv1.2"
    # No TLS: what shows a password is not offered, and who has no name may come in.
    echo "127.0.0.1:$clear inet n - n - - smtpd -o smtpd_tls_security_level=none -o smtpd_sasl_auth_enable=yes -o $relay" \
        "-o smtpd_sasl_security_options=noplaintext"
    echo "cleanup unix n - n - 0 cleanup"
    echo "qmgr unix n - n 300 1 qmgr"
    echo "pickup unix n - n 60 1 pickup"
    echo "tlsmgr unix - - n 1000? 1 tlsmgr"
    echo "rewrite unix - - n - - trivial-rewrite"
    for service in bounce defer trace; do
        echo "$service unix - - n - 0 bounce"
    done
    echo "flush unix n - n 1000? 0 flush"
    echo "proxymap unix - - n - - proxymap"
    echo "error unix - - n - - error"
    echo "retry unix - - n - - error"
    echo "virtual unix - n n - - virtual"
    echo "anvil unix - - n - 1 anvil"
    echo "postlog unix-dgram n - n - 1 postlogd"
} > "$state/etc/master.cf"
run /usr/lib/postfix/sbin/master -c "$inside/etc"
for port in "$smtp" "$submission" "$wrong_host" "$old" "$clear"; do
    until_true greets "$port"
done
echo "smtp $smtp"
echo "submission $submission"
echo "submissions $submissions"
echo "wrong-host $wrong_host"
echo "old $old"
echo "clear $clear"
ready
