//! Exit codes, and the one that a single message ends with.

use std::process::ExitCode;

use crate::mail::{Cause, Outcome, Stage, State, Trouble};

/// What the process ends with: 0, 1, and the codes of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every recipient accepted or durably queued, or nothing to do.
    Success = 0,
    /// Not all accepted, and repeating is not simply right.
    Partial = 1,
    /// Wrong command line.
    Usage = 64,
    /// An address, a header or a message that cannot be sent.
    Data = 65,
    /// An input file that cannot be read.
    NoInput = 66,
    /// Every recipient refused for good.
    NoUser = 67,
    /// Host not found.
    NoHost = 68,
    /// Service or message refused for good; TLS or a required extension not to be had.
    Unavailable = 69,
    /// A defect of this program.
    Internal = 70,
    /// The operating system failed.
    System = 71,
    /// An output cannot be created.
    CannotCreate = 73,
    /// Input or output failed.
    Io = 74,
    /// Nothing accepted, nothing unknown: try again as is.
    TryAgain = 75,
    /// The server broke the protocol.
    Protocol = 76,
    /// Login refused, or certificate not trusted.
    NoPermission = 77,
    /// Wrong or missing configuration.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The code of trouble that stopped everything.
    pub fn of_trouble(trouble: &Trouble) -> Self {
        match trouble.cause {
            Cause::NoHost => Exit::NoHost,
            Cause::Unreachable | Cause::TimedOut | Cause::Lost | Cause::Busy | Cause::Stopped => Exit::TryAgain,
            Cause::Refused | Cause::Unsupported | Cause::TooLarge => Exit::Unavailable,
            Cause::Untrusted | Cause::Login => Exit::NoPermission,
            Cause::Protocol => Exit::Protocol,
            Cause::Configuration => Exit::Configuration,
            Cause::Input => Exit::NoInput,
            Cause::Output => Exit::Io,
            Cause::Internal => Exit::Internal,
        }
    }

    /// The code for the outcomes of a single message: the first rule that fits.
    pub fn of_message(outcomes: &[Outcome]) -> Self {
        let count = |state: State| outcomes.iter().filter(|outcome| outcome.state == state).count();
        let accepted = count(State::Accepted) + count(State::Queued);
        let (unknown, deferred) = (count(State::Unknown), count(State::Deferred));
        if unknown > 0 || (accepted > 0 && accepted < outcomes.len()) {
            return Exit::Partial;
        }
        if accepted == outcomes.len() {
            return Exit::Success;
        }
        // Nobody was accepted from here on.
        if let Some(trouble) = outcomes.iter().find_map(trouble_before_recipients) {
            return Exit::of_trouble(trouble);
        }
        if deferred > 0 {
            return Exit::TryAgain;
        }
        // A program that refuses its recipients has no reply to show, but means the same.
        let refused =
            |outcome: &Outcome| outcome.trouble.as_ref().is_none_or(|trouble| trouble.cause == Cause::Refused);
        if outcomes.iter().all(|outcome| outcome.stage == Stage::Rcpt && refused(outcome)) {
            return Exit::NoUser;
        }
        match outcomes.iter().find_map(|outcome| outcome.trouble.as_ref()).map(|trouble| trouble.cause) {
            None | Some(Cause::TooLarge | Cause::Unsupported | Cause::Refused) => Exit::Unavailable,
            Some(Cause::Input) => Exit::NoInput,
            Some(_) => Exit::Data,
        }
    }
}

/// What stopped the session before any recipient was asked.
fn trouble_before_recipients(outcome: &Outcome) -> Option<&Trouble> {
    let trouble = outcome.trouble.as_ref()?;
    let before =
        outcome.stage <= Stage::Auth || matches!(trouble.cause, Cause::Login | Cause::Output | Cause::Protocol);
    (outcome.state == State::Deferred && before).then_some(trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Mailbox, Reply};
    use std::time::Duration;

    fn outcome(state: State, stage: Stage, cause: Option<Cause>) -> Outcome {
        Outcome {
            recipient: Mailbox::parse("a@b.example").unwrap().address,
            state,
            stage,
            reply: cause.is_none().then(|| Reply { code: 550, lines: vec![String::new()] }),
            trouble: cause.map(|cause| Trouble::new(stage, cause, "x")),
            remote_id: None,
            dsn: None,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn the_first_rule_that_fits() {
        use Cause::*;
        use State::*;
        let accepted = || outcome(Accepted, Stage::Data, None);
        let refused = || outcome(Failed, Stage::Rcpt, None);
        for (outcomes, exit) in [
            (vec![accepted()], Exit::Success),
            (vec![accepted(), accepted()], Exit::Success),
            (vec![accepted(), outcome(Queued, Stage::Compose, None)], Exit::Success),
            (vec![refused(), outcome(Queued, Stage::Compose, None)], Exit::Partial),
            (vec![accepted(), refused()], Exit::Partial),
            (vec![accepted(), outcome(Deferred, Stage::Rcpt, None)], Exit::Partial),
            (vec![outcome(Unknown, Stage::Final, Some(Lost))], Exit::Partial),
            (vec![outcome(Unknown, Stage::Final, Some(TimedOut)), refused()], Exit::Partial),
            (vec![outcome(Deferred, Stage::Connect, Some(NoHost))], Exit::NoHost),
            (vec![outcome(Deferred, Stage::Connect, Some(Unreachable))], Exit::TryAgain),
            (vec![outcome(Deferred, Stage::Greeting, Some(Refused))], Exit::Unavailable),
            (vec![outcome(Deferred, Stage::Tls, Some(Untrusted))], Exit::NoPermission),
            (vec![outcome(Deferred, Stage::Tls, Some(Unsupported))], Exit::Unavailable),
            (vec![outcome(Deferred, Stage::Tls, Some(Protocol))], Exit::Protocol),
            (vec![outcome(Deferred, Stage::Auth, Some(Login))], Exit::NoPermission),
            (vec![outcome(Deferred, Stage::Mail, Some(Login))], Exit::NoPermission),
            (vec![outcome(Deferred, Stage::Auth, Some(Configuration))], Exit::Configuration),
            (vec![outcome(Deferred, Stage::Data, Some(Output))], Exit::Io),
            (vec![outcome(Deferred, Stage::Data, Some(Lost))], Exit::TryAgain),
            (vec![outcome(Deferred, Stage::Rcpt, None), refused()], Exit::TryAgain),
            (vec![refused(), refused()], Exit::NoUser),
            (vec![refused(), outcome(Failed, Stage::Data, None)], Exit::Unavailable),
            (vec![outcome(Failed, Stage::Rcpt, Some(Refused))], Exit::NoUser),
            (vec![outcome(Failed, Stage::Mail, None)], Exit::Unavailable),
            (vec![outcome(Failed, Stage::Mail, Some(TooLarge))], Exit::Unavailable),
            (vec![outcome(Failed, Stage::Mail, Some(Unsupported))], Exit::Unavailable),
            (vec![outcome(Failed, Stage::Data, Some(Input))], Exit::NoInput),
        ] {
            assert_eq!(Exit::of_message(&outcomes), exit, "{outcomes:?}");
        }
    }
}
