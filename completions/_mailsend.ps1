
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'mailsend' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'mailsend'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'mailsend' {
            [CompletionResult]::new('--to', '--to', [CompletionResultType]::ParameterName, 'Recipients: an address, a list, or @FILE with one per line')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'Recipients of a copy')
            [CompletionResult]::new('--cc', '--cc', [CompletionResultType]::ParameterName, 'Recipients of a copy')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'Recipients whom no one sees')
            [CompletionResult]::new('--bcc', '--bcc', [CompletionResultType]::ParameterName, 'Recipients whom no one sees')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Subject')
            [CompletionResult]::new('--subject', '--subject', [CompletionResultType]::ParameterName, 'Subject')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Sender; the profile''s by default')
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'Sender; the profile''s by default')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Return path; the sender''s address by default, <> for none')
            [CompletionResult]::new('--envelope-from', '--envelope-from', [CompletionResultType]::ParameterName, 'Return path; the sender''s address by default, <> for none')
            [CompletionResult]::new('--reply-to', '--reply-to', [CompletionResultType]::ParameterName, 'Where replies go')
            [CompletionResult]::new('--body', '--body', [CompletionResultType]::ParameterName, 'Text: as it is, @FILE, or - for standard input; '''' for none')
            [CompletionResult]::new('--html', '--html', [CompletionResultType]::ParameterName, 'HTML; without --body a text is made of it')
            [CompletionResult]::new('--markdown', '--markdown', [CompletionResultType]::ParameterName, 'Markdown: sent as text and as HTML')
            [CompletionResult]::new('-a', '-a', [CompletionResultType]::ParameterName, 'Attach a file: ''FILE;name=n.pdf;type=application/pdf''')
            [CompletionResult]::new('--attach', '--attach', [CompletionResultType]::ParameterName, 'Attach a file: ''FILE;name=n.pdf;type=application/pdf''')
            [CompletionResult]::new('--inline', '--inline', [CompletionResultType]::ParameterName, 'An image that the HTML shows as cid:logo: ''FILE;cid=logo''')
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'Any header field: ''X: y''')
            [CompletionResult]::new('--header', '--header', [CompletionResultType]::ParameterName, 'Any header field: ''X: y''')
            [CompletionResult]::new('--raw', '--raw', [CompletionResultType]::ParameterName, 'An existing message; recipients from options, else from its header')
            [CompletionResult]::new('--dsn-notify', '--dsn-notify', [CompletionResultType]::ParameterName, 'Ask for delivery reports: success, failure, delay (a list), or never')
            [CompletionResult]::new('--dsn-return', '--dsn-return', [CompletionResultType]::ParameterName, 'What a report returns: the full message, or its hdrs')
            [CompletionResult]::new('--envid', '--envid', [CompletionResultType]::ParameterName, 'Name of this sending in reports: letters, digits, dot and hyphen')
            [CompletionResult]::new('--message-id', '--message-id', [CompletionResultType]::ParameterName, 'Message-ID: <left@right>')
            [CompletionResult]::new('--date', '--date', [CompletionResultType]::ParameterName, 'Date: as in mail, as 2026-11-23T10:00:00+01:00, or as @SECONDS')
            [CompletionResult]::new('--in-reply-to', '--in-reply-to', [CompletionResultType]::ParameterName, 'Message-ID of the message that this one replies to')
            [CompletionResult]::new('--references', '--references', [CompletionResultType]::ParameterName, 'Message-IDs of the conversation so far')
            [CompletionResult]::new('--priority', '--priority', [CompletionResultType]::ParameterName, 'How urgent it is')
            [CompletionResult]::new('--eml', '--eml', [CompletionResultType]::ParameterName, 'Write the message to FILE, - for standard output; send nothing')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Use this profile of the configuration')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Use this profile of the configuration')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Use this server instead of a profile')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Log in as this user')
            [CompletionResult]::new('--password-command', '--password-command', [CompletionResultType]::ParameterName, 'Take the password from the output of this shell command')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'Take the password from this file, which only its owner may read')
            [CompletionResult]::new('--password-fd', '--password-fd', [CompletionResultType]::ParameterName, 'Take the password from this open file descriptor')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem')
            [CompletionResult]::new('--retry', '--retry', [CompletionResultType]::ParameterName, 'Try again up to N times what was deferred')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Limit for connecting, greeting, each command and each block of the message')
            [CompletionResult]::new('--report', '--report', [CompletionResultType]::ParameterName, 'Write a record for every recipient to FILE, or to standard output (-)')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Format of the records; without --report they go to standard output')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Show how far the message has left')
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--mdn', '--mdn', [CompletionResultType]::ParameterName, 'Ask the reader for a receipt')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Print what would be sent, and to whom; send nothing')
            [CompletionResult]::new('-E', '-E ', [CompletionResultType]::ParameterName, 'Without text and file send nothing, and be content')
            [CompletionResult]::new('--skip-empty', '--skip-empty', [CompletionResultType]::ParameterName, 'Without text and file send nothing, and be content')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('profile', 'profile', [CompletionResultType]::ParameterValue, 'List, show, add, import, remove or check profiles')
            [CompletionResult]::new('login', 'login', [CompletionResultType]::ParameterValue, 'Store the password or the tokens of a profile')
            [CompletionResult]::new('logout', 'logout', [CompletionResultType]::ParameterValue, 'Remove what is stored for a profile')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print completions for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print a manual page')
            break
        }
        'mailsend;profile' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the profiles')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show the keys of a profile and where each was set')
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Set up an account: find its server, prove the login, write the profile, keep the password')
            [CompletionResult]::new('import', 'import', [CompletionResultType]::ParameterValue, 'Take over profiles from msmtp, git or mutt')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Remove a profile from the configuration')
            [CompletionResult]::new('default', 'default', [CompletionResultType]::ParameterValue, 'Show or set the profile that is used when none is named')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Connect, and say what the server offers and whether the login works')
            break
        }
        'mailsend;profile;list' {
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mailsend;profile;show' {
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('-a', '-a', [CompletionResultType]::ParameterName, 'Show the defaults, too')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Show the defaults, too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mailsend;profile;add' {
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The server: smtps://USER@HOST, smtp://USER@HOST:587, lmtp://HOST, sendmail:, maildir:FOLDER')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Sender of messages that name none; its server is looked for if none is named')
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'Sender of messages that name none; its server is looked for if none is named')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Log in as this user; the address by default')
            [CompletionResult]::new('--password-command', '--password-command', [CompletionResultType]::ParameterName, 'The password comes from the output of this shell command, now and later')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'The password is in this file, now and later; only its owner may read it')
            [CompletionResult]::new('--password-fd', '--password-fd', [CompletionResultType]::ParameterName, 'Read the password from this open file descriptor, and keep it as login does')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Any other key, such as -o timeouts.connect=5s')
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--default', '--default', [CompletionResultType]::ParameterName, 'Use it when none is named')
            [CompletionResult]::new('--no-check', '--no-check', [CompletionResultType]::ParameterName, 'Do not connect: write what is given, or found')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mailsend;profile;import' {
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'Whose configuration it is')
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--replace', '--replace', [CompletionResultType]::ParameterName, 'Replace profiles of the same name')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Print what would be added, and change nothing')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mailsend;profile;remove' {
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mailsend;profile;default' {
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mailsend;profile;check' {
            [CompletionResult]::new('--send', '--send', [CompletionResultType]::ParameterName, 'Send a test message to this address, too')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Use this profile of the configuration')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Use this profile of the configuration')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'Use this server instead of a profile')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Log in as this user')
            [CompletionResult]::new('--password-command', '--password-command', [CompletionResultType]::ParameterName, 'Take the password from the output of this shell command')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'Take the password from this file, which only its owner may read')
            [CompletionResult]::new('--password-fd', '--password-fd', [CompletionResultType]::ParameterName, 'Take the password from this open file descriptor')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Set any key of a profile for this call, such as -o tls.ca-file=ca.pem')
            [CompletionResult]::new('--retry', '--retry', [CompletionResultType]::ParameterName, 'Try again up to N times what was deferred')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Limit for connecting, greeting, each command and each block of the message')
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mailsend;login' {
            [CompletionResult]::new('--oauth', '--oauth', [CompletionResultType]::ParameterName, 'Log in at google, microsoft or a custom provider; the profile keeps that')
            [CompletionResult]::new('--client-id', '--client-id', [CompletionResultType]::ParameterName, 'The client id that the provider has registered for you')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Set any key of the profile, such as -o oauth.tenant=example.com; with --oauth the profile keeps it')
            [CompletionResult]::new('--store', '--store', [CompletionResultType]::ParameterName, 'Keep it there; what is in another store is moved')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'The profile; the default one if none is named')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'The profile; the default one if none is named')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The server instead of a profile: smtp://USER@HOST')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user')
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--list', '--list', [CompletionResultType]::ParameterName, 'List what is stored, without secrets')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'List it as JSON: "entries", and "silent" with each store that is there and could not be asked, which ends with 78')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mailsend;logout' {
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'The profile; the default one if none is named')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'The profile; the default one if none is named')
            [CompletionResult]::new('--server', '--server', [CompletionResultType]::ParameterName, 'The server instead of a profile: smtp://USER@HOST')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'The user')
            [CompletionResult]::new('-C', '-C ', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read this configuration file and no other')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what is done')
            [CompletionResult]::new('--trace', '--trace', [CompletionResultType]::ParameterName, 'Show the whole dialogue with the server, without secrets')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mailsend;completions' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mailsend;man' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
