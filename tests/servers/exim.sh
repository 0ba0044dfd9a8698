#!/usr/bin/env bash
# Exim: STARTTLS with login, and TLS from the first byte. Everybody logs in with the password in STATE/password, or
# with the certificate client.example by EXTERNAL.
# Mail for everybody @example.test lies in the maildir STATE/mail/all, except for those named refused.
. "$(dirname "$0")/common.sh"

submission=$(free_port) submissions=$(free_port)
mkdir -p "$state"/{spool,log,mail/all/{new,cur,tmp}}
chown -R 104:104 "$state"
chmod 755 "$state"
cat > "$state/exim.conf" << END
exim_path = /usr/sbin/exim4
spool_directory = $inside/spool
log_file_path = $inside/log/%s.log
pid_file_path = $inside/exim.pid
primary_hostname = mx.example.test
daemon_smtp_ports = $submission : $submissions
tls_on_connect_ports = $submissions
local_interfaces = 127.0.0.1
disable_ipv6 = true
dns_again_means_nonexist = *
host_lookup =
helo_lookup_domains =
rfc1413_query_timeout = 0s
keep_environment =
deliver_drop_privilege = true
tls_advertise_hosts = *
tls_certificate = $inside/good.pem
tls_privatekey = $inside/good.key
tls_try_verify_hosts = *
tls_verify_certificates = $inside/ca.pem
chunking_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
auth_advertise_hosts = \${if eq{\$tls_in_cipher}{}{}{*}}
message_size_limit = 8M
acl_smtp_rcpt = recipient
acl_smtp_data = accept
begin acl
recipient:
  deny local_parts = refused
       message = 5.1.1 There is nobody of this name
  accept domains = example.test
         authenticated = *
  # The program started by hand.
  accept domains = example.test
         hosts = :
  deny message = 5.7.1 Log in first
begin routers
all:
  driver = accept
  domains = example.test
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = $inside/mail/all
  maildir_format
  envelope_to_add
  return_path_add
  user = 104
  group = 104
begin retry
*  *  F,1m,5s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if eq{\$auth3}{\${readfile{$inside/password}}}}
  server_set_id = \$auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = \${if eq{\$auth2}{\${readfile{$inside/password}}}}
  server_set_id = \$auth1
external:
  driver = external
  public_name = EXTERNAL
  server_advertise_condition = \$tls_in_certificate_verified
  server_param2 = \${certextract{subj_altname,dns}{\$tls_in_peercert}}
  server_condition = \${if and{{eq{\$auth2}{client.example}}{or{{eq{\$auth1}{}}{eq{\$auth1}{client.example}}}}}}
  server_set_id = \$auth2
END
run /usr/sbin/exim4 -C "$inside/exim.conf" -bdf -q5s
until_true greets "$submission"
echo "submission $submission"
echo "submissions $submissions"
ready
