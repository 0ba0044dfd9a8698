# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mailsend_global_optspecs
    string join \n to= c/cc= b/bcc= s/subject= r/from= f/envelope-from= reply-to= body= html= markdown= a/attach= inline= H/header= template= set= verp unsubscribe= dsn-notify= dsn-return= envid= mdn message-id= date= in-reply-to= references= priority= raw= data= dry-run eml= E/skip-empty queue at= in= expires= key= queue-on-failure p/profile= server= user= password-command= password-file= password-fd= o= retry= timeout= report= format= progress= C/config= q/quiet v/verbose trace h/help V/version
end

function __fish_mailsend_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mailsend_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mailsend_using_subcommand
    set -l cmd (__fish_mailsend_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mailsend -n "__fish_mailsend_needs_command" -l to -d 'Recipients: an address, an alias, a list, or @FILE with one per line' -r -f
complete -c mailsend -n "__fish_mailsend_needs_command" -s c -l cc -d 'Recipients of a copy' -r -f
complete -c mailsend -n "__fish_mailsend_needs_command" -s b -l bcc -d 'Recipients whom no one sees' -r -f
complete -c mailsend -n "__fish_mailsend_needs_command" -s s -l subject -d 'Subject' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -s r -l from -d 'Sender; the profile\'s by default' -r -f
complete -c mailsend -n "__fish_mailsend_needs_command" -s f -l envelope-from -d 'Return path; the sender\'s address by default, <> for none' -r -f
complete -c mailsend -n "__fish_mailsend_needs_command" -l reply-to -d 'Where replies go' -r -f
complete -c mailsend -n "__fish_mailsend_needs_command" -l body -d 'Text: as it is, @FILE, or - for standard input; \'\' for none' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l html -d 'HTML; without --body a text is made of it' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l markdown -d 'Markdown: sent as text and as HTML' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -s a -l attach -d 'Attach a file: \'FILE;name=n.pdf;type=application/pdf\'' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -l inline -d 'An image that the HTML shows as cid:logo: \'FILE;cid=logo\'' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -s H -l header -d 'Any header field: \'X: y\'' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l template -d 'Make the message of this template: a name or a folder' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -l set -d 'Give a name of the template a value: \'NAME=VALUE\'' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l unsubscribe -d 'Web address that unsubscribes with one click (RFC 8058): https only' -r -f
complete -c mailsend -n "__fish_mailsend_needs_command" -l dsn-notify -d 'Ask for delivery reports: success, failure, delay (a list), or never' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l dsn-return -d 'What a report returns: the full message, or its hdrs' -r -f -a "full\t'The whole message'
hdrs\t'Its header'"
complete -c mailsend -n "__fish_mailsend_needs_command" -l envid -d 'Name of this sending in reports: letters, digits, dot and hyphen' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l message-id -d 'Message-ID: <left@right>' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l date -d 'Date: as in mail, as 2026-11-23T10:00:00+01:00, or as @SECONDS' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l in-reply-to -d 'Message-ID of the message that this one replies to' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l references -d 'Message-IDs of the conversation so far' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l priority -d 'How urgent it is' -r -f -a "high\t'Urgent'
normal\t'As every other'
low\t'It can wait'"
complete -c mailsend -n "__fish_mailsend_needs_command" -l raw -d 'An existing message; recipients from options, else from its header' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -l data -d 'Values for the template: a JSON file, a web address, or -' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -l eml -d 'Write the message to FILE, - for standard output; send nothing' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -l at -d 'Into the queue, to be sent at this time: 2026-12-01T09:00:00Z, \'2026-12-01 09:00\', or 09:00 when it comes next' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l in -d 'Into the queue, to be sent after this time: 30m, 1h30m, 3d' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l expires -d 'Give up what nobody has accepted after this time (queue.lifetime)' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l key -d 'Into the queue once only: who adds a second message with this key gets the first' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -s p -l profile -d 'Use this profile of the configuration' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l server -d 'Use this server instead of a profile' -r -f
complete -c mailsend -n "__fish_mailsend_needs_command" -l user -d 'Log in as this user' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l password-command -d 'Take the password from the output of this shell command' -r -f -a "(__fish_complete_command)"
complete -c mailsend -n "__fish_mailsend_needs_command" -l password-file -d 'Take the password from this file, which only its owner may read' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -l password-fd -d 'Take the password from this open file descriptor' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -s o -d 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l retry -d 'Try again up to N times what was deferred' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l timeout -d 'Limit for connecting, greeting, each command and each block of the message' -r
complete -c mailsend -n "__fish_mailsend_needs_command" -l report -d 'Write a record for every recipient to FILE, or to standard output (-)' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -l format -d 'Format of the records; without --report they go to standard output' -r -f -a "human\t'A line for people'
json\t'A JSON object per line'
csv\t'Comma-separated values'"
complete -c mailsend -n "__fish_mailsend_needs_command" -l progress -d 'Show how far the message has left' -r -f -a "auto\t'A bar on a terminal, nothing elsewhere'
bar\t'A bar'
lines\t'A line for every tenth'
json\t'A JSON object for every tenth'
none\t'Nothing'"
complete -c mailsend -n "__fish_mailsend_needs_command" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_needs_command" -l verp -d 'Give every recipient a return path of its own: list+ada=example.com@you.example (VERP)'
complete -c mailsend -n "__fish_mailsend_needs_command" -l mdn -d 'Ask the reader for a receipt'
complete -c mailsend -n "__fish_mailsend_needs_command" -l dry-run -d 'Print what would be sent, and to whom; send nothing'
complete -c mailsend -n "__fish_mailsend_needs_command" -s E -l skip-empty -d 'Without text and file send nothing, and be content'
complete -c mailsend -n "__fish_mailsend_needs_command" -l queue -d 'Put it into the queue and return once it is safe there'
complete -c mailsend -n "__fish_mailsend_needs_command" -l queue-on-failure -d 'Send it now, and put it into the queue if that is not possible now'
complete -c mailsend -n "__fish_mailsend_needs_command" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_needs_command" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_needs_command" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_needs_command" -s V -l version -d 'Print version'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "batch" -d 'Send a message for each row of a table'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "queue" -d 'Look at the queue, and decide about what is in it'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "worker" -d 'Send what is in the queue, until stopped'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "report" -d 'Show what a batch came to, from its ledger or from records'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "profile" -d 'List, show, add, import, remove or check profiles'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "template" -d 'List, check or render templates'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "login" -d 'Store the password or the tokens of a profile'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "logout" -d 'Remove what is stored for a profile'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "sendmail" -d 'Take a message as sendmail does; see man mailsend-sendmail'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "completions" -d 'Print completions for a shell'
complete -c mailsend -n "__fish_mailsend_needs_command" -a "man" -d 'Print a manual page'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l to -d 'Recipients: an address, an alias, a list, or @FILE with one per line' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s c -l cc -d 'Recipients of a copy' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s b -l bcc -d 'Recipients whom no one sees' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s s -l subject -d 'Subject' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s r -l from -d 'Sender; the profile\'s by default' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s f -l envelope-from -d 'Return path; the sender\'s address by default, <> for none' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l reply-to -d 'Where replies go' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l body -d 'Text: as it is, @FILE, or - for standard input; \'\' for none' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l html -d 'HTML; without --body a text is made of it' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l markdown -d 'Markdown: sent as text and as HTML' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s a -l attach -d 'Attach a file: \'FILE;name=n.pdf;type=application/pdf\'' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l inline -d 'An image that the HTML shows as cid:logo: \'FILE;cid=logo\'' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s H -l header -d 'Any header field: \'X: y\'' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l template -d 'Make the message of this template: a name or a folder' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l set -d 'Give a name of the template a value: \'NAME=VALUE\'' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l unsubscribe -d 'Web address that unsubscribes with one click (RFC 8058): https only' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l dsn-notify -d 'Ask for delivery reports: success, failure, delay (a list), or never' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l dsn-return -d 'What a report returns: the full message, or its hdrs' -r -f -a "full\t'The whole message'
hdrs\t'Its header'"
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l envid -d 'Name of this sending in reports: letters, digits, dot and hyphen' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l message-id -d 'Message-ID: <left@right>' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l date -d 'Date: as in mail, as 2026-11-23T10:00:00+01:00, or as @SECONDS' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l in-reply-to -d 'Message-ID of the message that this one replies to' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l references -d 'Message-IDs of the conversation so far' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l priority -d 'How urgent it is' -r -f -a "high\t'Urgent'
normal\t'As every other'
low\t'It can wait'"
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l input-format -d 'How the table is written: csv, tsv, jsonl or json' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l delimiter -d 'What stands between cells: a character, or tab' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l encoding -d 'Encoding of the table, such as windows-1252' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l first -d 'Only the first N rows' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l rows -d 'Only these rows: 17,20-25 (the first below the header is 1)' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l exclude -d 'Nobody of this file: an address or @domain per line' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l to-column -d 'The column with the recipients' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l redirect-to -d 'Send everything to this address instead' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l preview -d 'Print the first N messages as they would be sent; send nothing' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l concurrency -d 'Connections at once (pool.max-connections)' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l rate -d 'At most so many recipients: 10/s, 500/h (rate.limit)' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l stop-after-failures -d 'Stop after so many messages in a row that were refused with the same code; 0 for never' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l failed -d 'Write the rows that failed, are deferred or bad to FILE, with their errors' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l at -d 'Into the queue, to be sent at this time: 2026-12-01T09:00:00Z, \'2026-12-01 09:00\', or 09:00 when it comes next' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l in -d 'Into the queue, to be sent after this time: 30m, 1h30m, 3d' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l expires -d 'Give up what nobody has accepted after this time (queue.lifetime)' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s p -l profile -d 'Use this profile of the configuration' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l server -d 'Use this server instead of a profile' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l user -d 'Log in as this user' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l password-command -d 'Take the password from the output of this shell command' -r -f -a "(__fish_complete_command)"
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l password-file -d 'Take the password from this file, which only its owner may read' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l password-fd -d 'Take the password from this open file descriptor' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s o -d 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l retry -d 'Try again up to N times what was deferred' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l timeout -d 'Limit for connecting, greeting, each command and each block of the message' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l report -d 'Write a record for every recipient to FILE, or to standard output (-)' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l format -d 'Format of the records; without --report they go to standard output' -r -f -a "human\t'A line for people'
json\t'A JSON object per line'
csv\t'Comma-separated values'"
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l progress -d 'Show how far the message has left' -r -f -a "auto\t'A bar on a terminal, nothing elsewhere'
bar\t'A bar'
lines\t'A line for every tenth'
json\t'A JSON object for every tenth'
none\t'Nothing'"
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l verp -d 'Give every recipient a return path of its own: list+ada=example.com@you.example (VERP)'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l mdn -d 'Ask the reader for a receipt'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l unique -d 'Each address once, the first time it comes'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l skip-bad-rows -d 'Send the good rows when some are bad'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l dry-run -d 'Check everything and say what would be sent; send nothing'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s y -l yes -d 'Send without the question that is asked at a terminal'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l resume -d 'Go on with a run that was broken off: send what is not settled'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l resend-unknown -d 'With --resume, also send what may have arrived already'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l force -d 'With --resume, even if the table or the message has changed'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l queue -d 'Put it into the queue and return once it is safe there'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand batch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "list" -d 'List messages'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "show" -d 'Show all that is known of a message'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "stats" -d 'Show the queue in figures'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "run" -d 'Send what is due now, then end'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "retry" -d 'Let waiting messages be due now'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "hold" -d 'Let waiting messages wait until they are released'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "release" -d 'Let held messages be sent'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "remove" -d 'Remove messages, whoever has not got them yet'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and not __fish_seen_subcommand_from list show stats run retry hold release remove purge" -f -a "purge" -d 'Remove all messages of a kind'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from list" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from list" -l all -d 'Also those that have ended'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from list" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from show" -l eml -d 'Write the message itself to FILE, - for standard output' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from show" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from show" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from stats" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from stats" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from stats" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from stats" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from stats" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l limit -d 'Begin nothing new after this time, and end' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l concurrency -d 'Connections at once to each server (pool.max-connections)' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -s p -l profile -d 'Use this profile of the configuration' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l server -d 'Use this server instead of a profile' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l user -d 'Log in as this user' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l password-command -d 'Take the password from the output of this shell command' -r -f -a "(__fish_complete_command)"
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l password-file -d 'Take the password from this file, which only its owner may read' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l password-fd -d 'Take the password from this open file descriptor' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -s o -d 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l retry -d 'Try again up to N times what was deferred' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l timeout -d 'Limit for connecting, greeting, each command and each block of the message' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l report -d 'Write a record for every recipient to FILE, or to standard output (-)' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l format -d 'Format of the records; without --report they go to standard output' -r -f -a "human\t'A line for people'
json\t'A JSON object per line'
csv\t'Comma-separated values'"
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l progress -d 'Show how far the message has left' -r -f -a "auto\t'A bar on a terminal, nothing elsewhere'
bar\t'A bar'
lines\t'A line for every tenth'
json\t'A JSON object for every tenth'
none\t'Nothing'"
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l background -d 'For a command that has added something: in a session of its own, without a word'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from retry" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from retry" -l all -d 'All for which it can be done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from retry" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from retry" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from retry" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from hold" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from hold" -l all -d 'All for which it can be done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from hold" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from hold" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from hold" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from hold" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from release" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from release" -l all -d 'All for which it can be done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from release" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from release" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from release" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from release" -l unknown -d 'Also to recipients who may have it already: they may get it twice'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from remove" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from remove" -l all -d 'All for which it can be done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from remove" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Without the question that --all asks at a terminal'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -l waiting -d 'Those that wait'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -l done -d 'Those that have ended'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -l held -d 'Those that are held'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -s y -l yes -d 'Without the question that is asked at a terminal'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand queue; and __fish_seen_subcommand_from purge" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -s p -l profile -d 'Use this profile of the configuration' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l server -d 'Use this server instead of a profile' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l user -d 'Log in as this user' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l password-command -d 'Take the password from the output of this shell command' -r -f -a "(__fish_complete_command)"
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l password-file -d 'Take the password from this file, which only its owner may read' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l password-fd -d 'Take the password from this open file descriptor' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -s o -d 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l retry -d 'Try again up to N times what was deferred' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l timeout -d 'Limit for connecting, greeting, each command and each block of the message' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l concurrency -d 'Connections at once to each server (pool.max-connections)' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l lease -d 'How long a message is this worker\'s without a sign of life, 5m by default' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l report -d 'Write a record for every recipient that has ended or is deferred to FILE, or to standard output (-)' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l format -d 'Format of the records; without --report they go to standard output' -r -f -a "human\t'A line for people'
json\t'A JSON object per line'
csv\t'Comma-separated values'"
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l no-declare -d 'Make no queue in RabbitMQ; they have to be there (queue.declare = false)'
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand worker" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_using_subcommand report" -l html -d 'Write a page with plots to FILE, - for standard output' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand report" -l list -d 'Print a line for everybody who ended so; with --json the records' -r -f -a "accepted\t'A server took responsibility'
deferred\t'Not now'
failed\t'Refused for good'
unknown\t'Nobody can know'
skipped\t'Not to be sent'
queued\t'Kept in the queue'"
complete -c mailsend -n "__fish_mailsend_using_subcommand report" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand report" -l open -d 'Show the page in the browser'
complete -c mailsend -n "__fish_mailsend_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and not __fish_seen_subcommand_from list show add import remove default check" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and not __fish_seen_subcommand_from list show add import remove default check" -f -a "list" -d 'List the profiles'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and not __fish_seen_subcommand_from list show add import remove default check" -f -a "show" -d 'Show the keys of a profile and where each was set'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and not __fish_seen_subcommand_from list show add import remove default check" -f -a "add" -d 'Set up an account: find its server, prove the login, write the profile, keep the password'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and not __fish_seen_subcommand_from list show add import remove default check" -f -a "import" -d 'Take over profiles from msmtp, git or mutt'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and not __fish_seen_subcommand_from list show add import remove default check" -f -a "remove" -d 'Remove a profile from the configuration'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and not __fish_seen_subcommand_from list show add import remove default check" -f -a "default" -d 'Show or set the profile that is used when none is named'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and not __fish_seen_subcommand_from list show add import remove default check" -f -a "check" -d 'Connect, and say what the server offers and whether the login works'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from list" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from list" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from show" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from show" -s a -l all -d 'Show the defaults, too'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from show" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from show" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -l server -d 'The server: smtps://USER@HOST, smtp://USER@HOST:587, lmtp://HOST, sendmail:, maildir:FOLDER' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -s r -l from -d 'Sender of messages that name none; its server is looked for if none is named' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -l user -d 'Log in as this user; the address by default' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -l password-command -d 'The password comes from the output of this shell command, now and later' -r -f -a "(__fish_complete_command)"
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -l password-file -d 'The password is in this file, now and later; only its owner may read it' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -l password-fd -d 'Read the password from this open file descriptor, and keep it as login does' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -s o -d 'Any other key, such as -o timeouts.connect=5s' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -l default -d 'Use it when none is named'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -l no-check -d 'Do not connect: write what is given, or found'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from import" -l from -d 'Whose configuration it is' -r -f -a "msmtp\t'~/.msmtprc'
git\t'The section sendemail of git\'s configuration'
mutt\t'~/.muttrc'"
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from import" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from import" -l replace -d 'Replace profiles of the same name'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from import" -l dry-run -d 'Print what would be added, and change nothing'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from import" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from remove" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from remove" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from default" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from default" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from default" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from default" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from default" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l send -d 'Send a test message to this address, too' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -s p -l profile -d 'Use this profile of the configuration' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l server -d 'Use this server instead of a profile' -r -f
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l user -d 'Log in as this user' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l password-command -d 'Take the password from the output of this shell command' -r -f -a "(__fish_complete_command)"
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l password-file -d 'Take the password from this file, which only its owner may read' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l password-fd -d 'Take the password from this open file descriptor' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -s o -d 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l retry -d 'Try again up to N times what was deferred' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l timeout -d 'Limit for connecting, greeting, each command and each block of the message' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand profile; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and not __fish_seen_subcommand_from list check render" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and not __fish_seen_subcommand_from list check render" -f -a "list" -d 'List the templates of the configuration: name, place, source of the data'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and not __fish_seen_subcommand_from list check render" -f -a "check" -d 'Compile templates, and list the names that they use'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and not __fish_seen_subcommand_from list check render" -f -a "render" -d 'Render a template, and show it or write it into files; nothing is sent'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from list" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from list" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from check" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from check" -l json -d 'Print JSON'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from check" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -l data -d 'Take the values from this JSON file, or from standard input (-): an object, or a list of objects' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -l set -d 'Give a value; it holds above those of --data' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -l row -d 'Take this object of the list, counted from 1' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -l locale -d 'Render for readers of this language and country, such as de or zh-TW' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -s o -l output -d 'Write TEMPLATE.eml, .html and .txt into this folder; \'-\' prints subject and text, as without any output' -r -f -a "(__fish_complete_directories)"
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -l eml -d 'Write the whole message to FILE, or to standard output (-)' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -l open -d 'Open the HTML, or the text if there is none, in a browser'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand template; and __fish_seen_subcommand_from render" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -l oauth -d 'Log in at google, microsoft or a custom provider; the profile keeps that' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -l client-id -d 'The client id that the provider has registered for you' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -s o -d 'Set any key of the profile, such as -o oauth.tenant=example.com; with --oauth the profile keeps it' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -l store -d 'Keep it there; what is in another store is moved' -r -f -a "keyring\t'The desktop\'s keyring'
keyutils\t'Keys of the Linux kernel, until the machine starts anew'
file\t'An encrypted file, see [secrets] in mailsend-config'"
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -s p -l profile -d 'The profile; the default one if none is named' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -l server -d 'The server instead of a profile: smtp://USER@HOST' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -l user -d 'The user' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -l list -d 'List what is stored, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -l json -d 'List it as JSON: "entries", and "silent" with each store that is there and could not be asked, which ends with 78'
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mailsend -n "__fish_mailsend_using_subcommand logout" -s p -l profile -d 'The profile; the default one if none is named' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand logout" -l server -d 'The server instead of a profile: smtp://USER@HOST' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand logout" -l user -d 'The user' -r
complete -c mailsend -n "__fish_mailsend_using_subcommand logout" -s C -l config -d 'Read this configuration file and no other' -r -F
complete -c mailsend -n "__fish_mailsend_using_subcommand logout" -s q -l quiet -d 'Say nothing but errors'
complete -c mailsend -n "__fish_mailsend_using_subcommand logout" -s v -l verbose -d 'Say what is done'
complete -c mailsend -n "__fish_mailsend_using_subcommand logout" -l trace -d 'Show the whole dialogue with the server, without secrets'
complete -c mailsend -n "__fish_mailsend_using_subcommand logout" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand completions" -s h -l help -d 'Print help'
complete -c mailsend -n "__fish_mailsend_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
