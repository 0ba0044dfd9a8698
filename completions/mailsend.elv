
use builtin;
use str;

set edit:completion:arg-completer[mailsend] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'mailsend'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'mailsend'= {
            cand --to 'Recipients: an address, a list, or @FILE with one per line'
            cand -c 'Recipients of a copy'
            cand --cc 'Recipients of a copy'
            cand -b 'Recipients whom no one sees'
            cand --bcc 'Recipients whom no one sees'
            cand -s 'Subject'
            cand --subject 'Subject'
            cand -r 'Sender; the profile''s by default'
            cand --from 'Sender; the profile''s by default'
            cand -f 'Return path; the sender''s address by default, <> for none'
            cand --envelope-from 'Return path; the sender''s address by default, <> for none'
            cand --reply-to 'Where replies go'
            cand --body 'Text: as it is, @FILE, or - for standard input; '''' for none'
            cand --html 'HTML; without --body a text is made of it'
            cand --markdown 'Markdown: sent as text and as HTML'
            cand -a 'Attach a file: ''FILE;name=n.pdf;type=application/pdf'''
            cand --attach 'Attach a file: ''FILE;name=n.pdf;type=application/pdf'''
            cand --inline 'An image that the HTML shows as cid:logo: ''FILE;cid=logo'''
            cand -H 'Any header field: ''X: y'''
            cand --header 'Any header field: ''X: y'''
            cand --raw 'An existing message; recipients from options, else from its header'
            cand --dsn-notify 'Ask for delivery reports: success, failure, delay (a list), or never'
            cand --dsn-return 'What a report returns: the full message, or its hdrs'
            cand --envid 'Name of this sending in reports: letters, digits, dot and hyphen'
            cand --message-id 'Message-ID: <left@right>'
            cand --date 'Date: as in mail, as 2026-11-23T10:00:00+01:00, or as @SECONDS'
            cand --in-reply-to 'Message-ID of the message that this one replies to'
            cand --references 'Message-IDs of the conversation so far'
            cand --priority 'How urgent it is'
            cand --eml 'Write the message to FILE, - for standard output; send nothing'
            cand -p 'Use this profile of the configuration'
            cand --profile 'Use this profile of the configuration'
            cand --server 'Use this server instead of a profile'
            cand --user 'Log in as this user'
            cand --password-command 'Take the password from the output of this shell command'
            cand --password-file 'Take the password from this file, which only its owner may read'
            cand --password-fd 'Take the password from this open file descriptor'
            cand -o 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem'
            cand --retry 'Try again up to N times what was deferred'
            cand --timeout 'Limit for connecting, greeting, each command and each block of the message'
            cand --report 'Write a record for every recipient to FILE, or to standard output (-)'
            cand --format 'Format of the records; without --report they go to standard output'
            cand --progress 'Show how far the message has left'
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand --mdn 'Ask the reader for a receipt'
            cand --dry-run 'Print what would be sent, and to whom; send nothing'
            cand -E 'Without text and file send nothing, and be content'
            cand --skip-empty 'Without text and file send nothing, and be content'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand profile 'List, show, add, remove or check profiles'
            cand login 'Store the password of a profile in the keyring'
            cand logout 'Remove the password of a profile from the keyring'
            cand completions 'Print completions for a shell'
            cand man 'Print a manual page'
        }
        &'mailsend;profile'= {
            cand -h 'Print help'
            cand --help 'Print help'
            cand list 'List the profiles'
            cand show 'Show the keys of a profile and where each was set'
            cand add 'Add a profile to the configuration'
            cand remove 'Remove a profile from the configuration'
            cand default 'Show or set the profile that is used when none is named'
            cand check 'Connect, and say what the server offers and whether the login works'
        }
        &'mailsend;profile;list'= {
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand --json 'Print JSON'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mailsend;profile;show'= {
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand -a 'Show the defaults, too'
            cand --all 'Show the defaults, too'
            cand --json 'Print JSON'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mailsend;profile;add'= {
            cand --server 'The server: smtps://USER@HOST, smtp://USER@HOST:587, lmtp://HOST, sendmail:, maildir:FOLDER'
            cand -r 'Sender of messages that name none'
            cand --from 'Sender of messages that name none'
            cand -o 'Any other key, such as -o timeouts.connect=5s'
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand --default 'Use it when none is named'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mailsend;profile;remove'= {
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mailsend;profile;default'= {
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mailsend;profile;check'= {
            cand --send 'Send a test message to this address, too'
            cand -p 'Use this profile of the configuration'
            cand --profile 'Use this profile of the configuration'
            cand --server 'Use this server instead of a profile'
            cand --user 'Log in as this user'
            cand --password-command 'Take the password from the output of this shell command'
            cand --password-file 'Take the password from this file, which only its owner may read'
            cand --password-fd 'Take the password from this open file descriptor'
            cand -o 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem'
            cand --retry 'Try again up to N times what was deferred'
            cand --timeout 'Limit for connecting, greeting, each command and each block of the message'
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand --json 'Print JSON'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mailsend;login'= {
            cand -p 'The profile; the default one if none is named'
            cand --profile 'The profile; the default one if none is named'
            cand --server 'The server instead of a profile: smtp://USER@HOST'
            cand --user 'The user'
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mailsend;logout'= {
            cand -p 'The profile; the default one if none is named'
            cand --profile 'The profile; the default one if none is named'
            cand --server 'The server instead of a profile: smtp://USER@HOST'
            cand --user 'The user'
            cand -C 'Read this configuration file and no other'
            cand --config 'Read this configuration file and no other'
            cand -q 'Say nothing but errors'
            cand --quiet 'Say nothing but errors'
            cand -v 'Say what is done'
            cand --verbose 'Say what is done'
            cand --trace 'Show the whole dialogue with the server, without secrets'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mailsend;completions'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mailsend;man'= {
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
    ]
    $completions[$command]
}
