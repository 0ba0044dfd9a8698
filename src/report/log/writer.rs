//! Who writes the lines: a thread of its own, so that neither a slow disk nor a logger that hangs holds anything up.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write},
    mem,
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt},
        net::{UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::fs::OFlags;

use super::name_of;
use crate::{config::LogTarget, mail::clean};

/// The first line is written at once, and then what has come in such a time.
const PAUSE: Duration = Duration::from_millis(20);
/// A logger may take so long for a line, and all of what is left at the end.
const LIMIT: Duration = Duration::from_secs(1);
/// Octets that wait; lines beyond are lost.
const MOST: usize = 16 << 20;

const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Somebody who writes lines.
pub(super) struct Writer {
    desk: Arc<Desk>,
    name: String,
}

/// Where lines wait.
#[derive(Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    octets: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    /// The thread has nothing to do, and is to be woken.
    is_idle: bool,
    is_closing: bool,
    is_over: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A defect elsewhere leaves no half of a line in here.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines; none come any more once it is closed.
    fn take(&self) -> Option<(Vec<u8>, Vec<usize>)> {
        let mut waiting = self.lock();
        while waiting.ends.is_empty() && !waiting.is_closing {
            waiting.is_idle = true;
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.is_idle = false;
        let lines = (mem::take(&mut waiting.octets), mem::take(&mut waiting.ends));
        (!lines.1.is_empty()).then_some(lines)
    }

    /// Lets lines gather, unless it is closed.
    fn pause(&self) {
        let waiting = self.lock();
        // Whichever it was.
        let _ = self.changed.wait_timeout_while(waiting, PAUSE, |waiting| !waiting.is_closing);
    }
}

impl Writer {
    pub fn start(target: &LogTarget) -> Self {
        let desk: Arc<Desk> = Arc::default();
        let name = name_of(target);
        let mut place = Place::of(target);
        thread::spawn({
            let (desk, name) = (desk.clone(), name.clone());
            move || {
                while let Some((octets, ends)) = desk.take() {
                    if let Err(error) = place.write(&octets, &ends) {
                        warn(&name, &error.to_string());
                    }
                    desk.pause();
                }
                desk.lock().is_over = true;
                desk.changed.notify_all();
            }
        });
        Self { desk, name }
    }

    /// Has a line written. Never waits.
    pub fn add(&self, line: &[u8]) {
        let mut waiting = self.desk.lock();
        if waiting.octets.len() + line.len() > MOST {
            drop(waiting);
            return warn(&self.name, "it takes lines too slowly, and some are lost");
        }
        waiting.octets.extend_from_slice(line);
        let end = waiting.octets.len();
        waiting.ends.push(end);
        let is_idle = mem::take(&mut waiting.is_idle);
        drop(waiting);
        if is_idle {
            self.desk.changed.notify_all();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut waiting = self.desk.lock();
        waiting.is_closing = true;
        self.desk.changed.notify_all();
        let ended = self.desk.changed.wait_timeout_while(waiting, LIMIT, |waiting| !waiting.is_over);
        if ended.is_ok_and(|(_, wait)| wait.timed_out()) {
            warn(&self.name, "it takes lines too slowly, and some may be lost");
        }
    }
}

/// Says once in this process that the log is not complete.
fn warn(name: &str, why: &str) {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    if !IS_SAID.swap(true, Ordering::Relaxed) {
        let line = clean(&format!("warning: the log ({name}) cannot be written: {why}"));
        // There is nobody to tell if that fails.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Where lines go.
enum Place {
    File(LogFile),
    Socket(&'static str, Option<Socket>),
}

impl Place {
    fn of(target: &LogTarget) -> Self {
        match target {
            LogTarget::File(path) => Place::File(LogFile { path: path.clone(), open: None, is_torn: false }),
            LogTarget::Syslog => Place::Socket(SYSLOG, None),
            LogTarget::Journal => Place::Socket(JOURNAL, None),
        }
    }

    /// Writes these lines. Those behind an error are lost.
    fn write(&mut self, octets: &[u8], ends: &[usize]) -> io::Result<()> {
        match self {
            Place::File(file) => file.write(octets),
            Place::Socket(path, socket) => {
                let mut begin = 0;
                for end in ends {
                    send(path.as_ref(), socket, &octets[begin..*end])?;
                    begin = *end;
                }
                Ok(())
            }
        }
    }
}

/// A file that others may move away.
struct LogFile {
    path: PathBuf,
    open: Option<File>,
    /// It does not end with a line end.
    is_torn: bool,
}

impl LogFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let number = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let is_there = |file: &File| {
            let (open, there) = (file.metadata().map(number), fs::metadata(&self.path).map(number));
            matches!((open, there), (Ok(open), Ok(there)) if open == there)
        };
        if !self.open.as_ref().is_some_and(is_there) {
            self.open = None;
            // Whoever can make links in a folder is not to say where another user writes.
            let is_ours = fs::metadata(folder(&self.path))?.uid() == rustix::process::geteuid().as_raw();
            let flags = if is_ours { OFlags::empty() } else { OFlags::NOFOLLOW };
            let flags = flags.bits().cast_signed();
            let file = File::options().append(true).create(true).mode(0o600).custom_flags(flags).open(&self.path)?;
            (self.open, self.is_torn) = (Some(file), false);
        }
        let Some(file) = &mut self.open else { return Ok(()) };
        if self.is_torn {
            file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut left = octets;
        while !left.is_empty() {
            match file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let written = &octets[..octets.len() - left.len()];
                    self.is_torn = !written.is_empty() && !written.ends_with(b"\n");
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

enum Socket {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

/// Sends a packet; once more over a new socket, where the old one leads nowhere any more.
fn send(path: &Path, socket: &mut Option<Socket>, packet: &[u8]) -> io::Result<()> {
    if let Some(open) = socket {
        match open.send(packet) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                // A stream may have half of it.
                *socket = None;
                return Err(error);
            }
            Err(_) => *socket = None,
            Ok(()) => return Ok(()),
        }
    }
    let sent = Socket::open(path).and_then(|mut open| open.send(packet).map(|()| open));
    *socket = Some(sent?);
    Ok(())
}

impl Socket {
    fn open(path: &Path) -> io::Result<Self> {
        let datagram = UnixDatagram::unbound()?;
        match datagram.connect(path) {
            Ok(()) => {
                datagram.set_write_timeout(Some(LIMIT))?;
                Ok(Socket::Datagram(datagram))
            }
            // Of the other kind.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(LIMIT))?;
                Ok(Socket::Stream(stream))
            }
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        match self {
            Socket::Datagram(socket) => socket.send(packet).map(drop),
            // As the C library ends its packets.
            Socket::Stream(socket) => socket.write_all(&[packet, b"\0"].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixListener, time::Instant};

    use super::*;

    fn file(path: &Path) -> LogTarget {
        LogTarget::File(path.to_owned())
    }

    #[test]
    fn lines_come_whole_and_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail.log");
        fs::write(&path, "before\n").unwrap();
        let writer = Writer::start(&file(&path));
        for number in 0..10_000 {
            writer.add(format!("{number}\n").as_bytes());
        }
        drop(writer);
        let text = fs::read_to_string(&path).unwrap();
        let wanted: String = (0..10_000).fold("before\n".to_owned(), |text, number| text + &format!("{number}\n"));
        assert!(text == wanted, "{} octets", text.len());
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("mail.log"), folder.path().join("mail.log.1"));
        let mut place = Place::of(&file(&path));
        place.write(b"one\n", &[4]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::rename(&path, &old).unwrap();
        place.write(b"two\n", &[4]).unwrap();
        fs::remove_file(&path).unwrap();
        place.write(b"three\n", &[6]).unwrap();
        // Emptied in its place.
        fs::write(&path, "").unwrap();
        place.write(b"four\n", &[5]).unwrap();
        assert_eq!(
            (fs::read_to_string(&old).unwrap(), fs::read_to_string(&path).unwrap()),
            ("one\n".into(), "four\n".into())
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(place.write(b"five\n", &[5]).is_err());
        fs::remove_dir(&path).unwrap();
        place.write(b"six\n", &[4]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "six\n");
    }

    /// A link leads somewhere only where nobody else can have made it.
    #[test]
    fn links_of_others_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, end) = (folder.path().join("mail.log"), folder.path().join("end"));
        std::os::unix::fs::symlink(&end, &path).unwrap();
        Place::of(&file(&path)).write(b"one\n", &[4]).unwrap();
        assert_eq!(fs::read_to_string(&end).unwrap(), "one\n");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(65_534), None).unwrap();
            assert!(Place::of(&file(&path)).write(b"two\n", &[4]).is_err());
            assert_eq!(fs::read_to_string(&end).unwrap(), "one\n");
        }
    }

    #[test]
    fn a_logger_that_comes_back_gets_its_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut socket = None;
        assert!(send(&path, &mut socket, b"lost").is_err());
        for line in [&b"one"[..], b"two"] {
            let logger = UnixDatagram::bind(&path).unwrap();
            send(&path, &mut socket, line).unwrap();
            let mut packet = [0; 9];
            let length = logger.recv(&mut packet).unwrap();
            assert_eq!(&packet[..length], line);
            drop(logger);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_logger_may_take_a_stream() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let logger = UnixListener::bind(&path).unwrap();
        let mut socket = None;
        send(&path, &mut socket, b"one").unwrap();
        send(&path, &mut socket, b"two").unwrap();
        drop(socket);
        let mut heard = Vec::new();
        logger.accept().unwrap().0.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"one\0two\0");
    }

    /// Whoever adds lines to a log that hangs does not wait, and whoever ends waits for a second.
    #[test]
    fn a_log_that_hangs_holds_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let begin = Instant::now();
        let writer = Writer::start(&file(&path));
        let line = vec![b'x'; 1 << 20];
        (0..40).for_each(|_| writer.add(&line));
        assert!(begin.elapsed() < LIMIT / 2, "{:?}", begin.elapsed());
        drop(writer);
        assert!(begin.elapsed() < 3 * LIMIT, "{:?}", begin.elapsed());
    }
}
