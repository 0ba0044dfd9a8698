//! `[sendmail]`: how programs are served that take mailsend for sendmail, or for mail.

use std::path::PathBuf;

/// What holds for messages of such programs, whichever profile they leave by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendmailTable {
    /// When they are sent.
    pub mode: SubmissionMode,
    /// The domain of names without one; this machine's name, if none is named.
    pub domain: Option<String>,
    /// Files of aliases of this machine (aliases(5)), the first that knows a name counts. One that is not there is empty.
    pub aliases: Vec<PathBuf>,
    /// Which aliases may do more than name addresses.
    pub allows: Vec<AliasKind>,
    /// The folder that takes messages of every user, for the worker of its owner.
    pub drop: Option<PathBuf>,
}

/// When a message of another program is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmissionMode {
    /// It is kept first; then there is one attempt in the background.
    QueueThenTry,
    /// It is kept, and a worker sends it.
    Queue,
    /// It is sent while the program waits.
    Direct,
}

/// What an alias may stand for beside addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasKind {
    /// `:include:/file`, a list of addresses.
    Include,
    /// `/file`, a mailbox that is added to.
    File,
    /// `|command`, which gets the message.
    Command,
}

impl Default for SendmailTable {
    /// As the defaults of the keys say it.
    fn default() -> Self {
        Self {
            mode: SubmissionMode::QueueThenTry,
            domain: None,
            aliases: vec!["/etc/aliases".into()],
            allows: Vec::new(),
            drop: None,
        }
    }
}
