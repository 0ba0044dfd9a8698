//! The programs that Postfix's people measure with: smtp-sink, which takes everything, and smtp-source, which repeats one
//! message.

use std::{
    io,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::peers::{FROM, TO, find};

/// Postfix's own sink.
pub struct SmtpSink {
    pub port: u16,
    child: std::process::Child,
}

impl SmtpSink {
    /// Starts it on a free port; none, with a word, if it is not there.
    pub fn start() -> io::Result<Option<Self>> {
        let Some(path) = find("smtp-sink") else {
            println!("Not on this machine: smtp-sink (of Postfix).");
            return Ok(None);
        };
        // Nobody else takes the port in between, it is hoped. As root it wants to know whom to become.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        for user in [&[][..], &["-u", "nobody"]] {
            let mut command = Command::new(&path);
            command.args(user).arg(format!("inet:127.0.0.1:{port}")).arg("1000");
            let mut sink = Self { port, child: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()? };
            while sink.child.try_wait()?.is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Ok(Some(sink));
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        println!("smtp-sink (of Postfix) does not start here.");
        Ok(None)
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// smtp-source with so many messages of about 1 KiB over so many sessions, if it is there.
pub fn source(port: u16, messages: u64, sessions: usize) -> Option<Command> {
    let mut command = Command::new(find("smtp-source")?);
    command.args(["-d", "-s", &sessions.to_string(), "-m", &messages.to_string(), "-l", "1024", "-f", FROM, "-t", TO]);
    command.arg(format!("inet:127.0.0.1:{port}")).stdout(Stdio::null()).stderr(Stdio::null());
    Some(command)
}
