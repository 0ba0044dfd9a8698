//! What lapin says, in our words.

use lapin::{
    Error, ErrorKind,
    protocol::{AMQPErrorKind, AMQPSoftError},
};

use crate::mail::{Cause, Stage, Trouble};

/// What ends a channel, and not the connection.
pub(super) fn soft(error: &Error) -> Option<AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(said) => match said.kind() {
            AMQPErrorKind::Soft(kind) => Some(kind.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

/// The same in our words.
pub(super) fn trouble(error: &Error) -> Trouble {
    let told = |cause, what: &str| Trouble::new(Stage::Connect, cause, what);
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            let cause = match said.kind() {
                // In its words: message size 17000000 is larger than configured max size 16777216.
                AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED)
                    if said.get_message().as_str().contains("larger than") =>
                {
                    Cause::TooLarge
                }
                AMQPErrorKind::Soft(
                    AMQPSoftError::ACCESSREFUSED | AMQPSoftError::NOTFOUND | AMQPSoftError::PRECONDITIONFAILED,
                ) => Cause::Configuration,
                AMQPErrorKind::Soft(_) => Cause::Busy,
                AMQPErrorKind::Hard(_) => Cause::Lost,
            };
            told(cause, said.get_message().as_str())
        }
        ErrorKind::IOError(error) => told(Cause::Lost, &error.to_string()),
        ErrorKind::MissingHeartbeatError => told(Cause::Lost, "RabbitMQ was silent for too long"),
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidChannel(_) => {
            lost("the connection to RabbitMQ has gone")
        }
        _ => told(Cause::Protocol, &error.to_string()),
    }
}

/// The connection has gone.
pub(super) fn lost(what: &str) -> Trouble {
    Trouble::new(Stage::Connect, Cause::Lost, what)
}
