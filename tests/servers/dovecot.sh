#!/usr/bin/env bash
# Dovecot: LMTP, and the logins of Postfix on the socket STATE/login.
# Everybody logs in with the password in STATE/password by any mechanism, but for odd@example.test, whose password is
# pa ss"wörd, or with a JWT (HS256) of https://idp.example.test that is signed with STATE/token-key. Mail is for ada, bob and full, who has no room, @example.test.
. "$(dirname "$0")/common.sh"

lmtp=$(free_port)
mkdir -p "$state/mail"
chown 1000:1000 "$state/mail"
chmod 755 "$state"
cat > "$state/users" << END
ada@example.test::1000:1000::$inside/mail/ada::
bob@example.test::1000:1000::$inside/mail/bob::
full@example.test::1000:1000::$inside/mail/full::userdb_quota_rule=*:bytes=100
END
echo 'odd@example.test:{PLAIN}pa ss"wörd::::::' > "$state/odd"
# DICT/CLIENT/ALGORITHM/KEY
mkdir -p "$state/keys/default/HS256"
base64 -w0 < "$state/token-key" > "$state/keys/default/HS256/default"
cat > "$state/oauth2.conf" << END
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=$inside/keys/
username_attribute = email
issuers = https://idp.example.test
END
chmod -R a+rX "$state/keys" "$state/oauth2.conf" "$state/odd"
challenges='cram-md5 digest-md5 scram-sha-1 scram-sha-256'
cat > "$state/dovecot.conf" << END
base_dir = $inside/base
state_dir = $inside/base
log_path = $inside/dovecot.log
auth_verbose = yes
protocols = lmtp
listen = 127.0.0.1
ssl = no
auth_mechanisms = plain login $challenges xoauth2 oauthbearer anonymous
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:~/
mail_plugins = quota
plugin {
  quota = count:all
  quota_grace = 0
  quota_vsizes = yes
}
mailbox_list_index = yes
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = $inside/oauth2.conf
}
passdb {
  driver = passwd-file
  mechanisms = plain login $challenges
  args = scheme=PLAIN username_format=%u $inside/odd
}
passdb {
  driver = static
  mechanisms = plain login $challenges
  args = password=$(cat "$state/password")
}
userdb {
  driver = passwd-file
  args = username_format=%u $inside/users
}
service auth {
  unix_listener login {
    path = $inside/login
    mode = 0666
  }
}
service lmtp {
  inet_listener lmtp {
    port = $lmtp
  }
  unix_listener lmtp {
    path = $inside/lmtp
    mode = 0666
  }
}
# All tests come from one address: their wrong passwords are no reason to let the others wait.
auth_failure_delay = 0
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
hostname = mx.example.test
END
run /usr/sbin/dovecot -F -c "$inside/dovecot.conf"
until_true greets "$lmtp"
until_true test -S "$state/login"
until_true test -S "$state/lmtp"
echo "lmtp $lmtp"
ready
