//! A message of ours on its way to those who send it, in RabbitMQ or in a drop directory: a line of JSON that says for whom
//! it is, and the message behind it.
//!
//! Whoever may publish or drop may write one, too. So it names a profile, never a server, a program or where a secret is
//! kept; and nothing in it is believed without a look.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

use crate::{
    mail::{Address, Content, DsnNotify, DsnRequest, DsnReturn, Envelope, Mailbox, Piece, Source},
    message::{Blocks, is_message_id},
    queue::{Job, Place, QueueError, Time},
};

/// The content-type of such a message.
pub(super) const CONTENT_TYPE: &str = "application/vnd.mailsend.message";
/// The version that is written.
const VERSION: u32 = 1;

/// Octets of a message that is taken from other programs.
pub(super) const MOST: u64 = 64 << 20;
/// Octets of the line in front of a message.
pub(super) const MOST_HEAD: usize = 8 << 20;
/// Recipients of a message that is taken from other programs.
const MOST_RECIPIENTS: usize = 100_000;
/// Octets of the beginning of a message.
const BEGINNING: usize = 64 * 1024;

/// A message, and how far it has come.
#[derive(Debug, Clone)]
pub struct Letter {
    /// By which people name it.
    pub name: String,
    /// The message with the recipients that are open. It has no key.
    pub job: Job,
    /// When it was added.
    pub added: Time,
    /// Attempts made.
    pub attempts: u32,
    /// What was heard last of recipients that are open.
    pub last: BTreeMap<String, String>,
}

/// The line in front of the message.
#[derive(Serialize, Deserialize)]
struct Head {
    v: u32,
    name: String,
    message_id: String,
    from: Option<String>,
    to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dsn_notify: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dsn_return: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    priority: i8,
    added: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Time>,
    expires: Time,
    attempts: u32,
    /// For those who read a queue by hand, and for older versions; the octets say it themselves.
    #[serde(default)]
    is_8bit: bool,
    /// As `is_8bit`.
    #[serde(default)]
    has_utf8_headers: bool,
    /// Octets of the message, where they are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    last: BTreeMap<String, String>,
}

impl Letter {
    /// A message that is new. Of its place only the profile goes along.
    pub fn new(name: String, job: Job, added: Time) -> Self {
        Self { name, job, added, attempts: 0, last: BTreeMap::new() }
    }

    /// The same for these recipients.
    ///
    /// # Errors
    /// If there are none.
    pub fn only(&self, to: Vec<Address>) -> Result<Self, String> {
        let envelope = Envelope::new(self.job.envelope.from().cloned(), to).map_err(|error| error.to_string())?;
        let mut letter = self.clone();
        letter.last.retain(|address, _| envelope.to().iter().any(|one| AsRef::<str>::as_ref(one) == address));
        letter.job.envelope = envelope;
        Ok(letter)
    }

    /// The octets that are kept, if who takes them will not refuse them; the line before them has `most` octets.
    ///
    /// # Errors
    /// If a file of the message cannot be read, or nobody would take it: it would only be missed.
    pub fn seal(&self, most: usize) -> Result<Vec<u8>, QueueError> {
        let octets = self.encode().map_err(|error| self.unreadable(error))?;
        match opened(&octets, most) {
            Ok(_) => Ok(octets),
            Err(what) => Err(QueueError::Unfit(what)),
        }
    }

    /// The octets that are kept.
    ///
    /// # Errors
    /// If a file of the message cannot be read.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let Job { message_id, envelope, content, dsn, place, priority, due, expires, key: _ } = &self.job;
        let head = Head {
            v: VERSION,
            name: self.name.clone(),
            message_id: message_id.clone(),
            from: envelope.from().map(ToString::to_string),
            to: envelope.to().iter().map(ToString::to_string).collect(),
            dsn_notify: dsn.notify.map(|notify| notify.to_string()),
            dsn_return: dsn.ret.map(|ret| ret.to_string()),
            envid: dsn.envid.clone(),
            profile: place.profile.clone(),
            priority: *priority,
            added: self.added,
            due: *due,
            expires: *expires,
            attempts: self.attempts,
            is_8bit: content.is_8bit,
            has_utf8_headers: content.has_utf8_headers,
            size: Some(content.len()),
            last: self.last.clone(),
        };
        let length = usize::try_from(content.len()).unwrap_or_default();
        let mut octets = Vec::with_capacity(length.saturating_add(512));
        serde_json::to_writer(&mut octets, &head)?;
        octets.push(b'\n');
        match content.pieces() {
            [Piece::Bytes(bytes)] => octets.extend_from_slice(bytes),
            _ => Blocks::new(content).try_for_each(|block| block.map(|block| octets.extend_from_slice(&block)))?,
        }
        Ok(octets)
    }

    /// What it means that [`Letter::encode`] has failed.
    pub fn unreadable(&self, error: io::Error) -> QueueError {
        let path = self.job.content.pieces().iter().find_map(|piece| match piece {
            Piece::File { source: Source::Path { path, .. }, .. } => Some(path.clone()),
            _ => None,
        });
        QueueError::Input { path: path.unwrap_or_default(), error }
    }

    /// The same with all its octets in memory, so that nothing about it can change or fail any more.
    ///
    /// # Errors
    /// With the reason, if it is too large or a file cannot be read.
    pub fn whole(mut self) -> Result<Self, String> {
        let content = &self.job.content;
        if content.len() > MOST {
            return Err(format!("it has {} octets, and no message has more than {MOST}", content.len()));
        }
        if !content.is_in_memory() {
            let mut octets = Vec::new();
            let mut blocks = Blocks::new(content);
            blocks
                .try_for_each(|block| block.map(|block| octets.extend_from_slice(&block)))
                .map_err(|error| format!("a file of it cannot be read: {error}"))?;
            let mut whole = Content::from_bytes(octets);
            (whole.is_8bit, whole.has_utf8_headers) = (content.is_8bit, content.has_utf8_headers);
            self.job.content = whole;
        }
        Ok(self)
    }

    /// The same with the beginning of its message only.
    #[must_use]
    pub fn cut(mut self) -> Self {
        if let [Piece::Bytes(octets)] = self.job.content.pieces() {
            let end = memchr::memmem::find(octets, b"\r\n\r\n").map_or(octets.len(), |end| end + 4).min(BEGINNING);
            self.job.content = Content::from_bytes(octets[..end].to_vec());
        }
        self
    }

    /// What was kept.
    ///
    /// # Errors
    /// With the reason, if it is none.
    pub fn decode(octets: &[u8]) -> Result<Self, String> {
        let (mut letter, message) = opened(octets, MOST_HEAD)?;
        let header = memchr::memmem::find(message, b"\r\n\r\n").map_or(message, |end| &message[..end]);
        letter.job.content = Content::from_bytes(message.to_vec());
        // As of read_raw: octets of an old charset are no UTF-8.
        letter.job.content.has_utf8_headers = !header.is_ascii() && std::str::from_utf8(header).is_ok();
        Ok(letter)
    }
}

/// What was kept, still without its message, and the message.
fn opened(octets: &[u8], most: usize) -> Result<(Letter, &[u8]), String> {
    let end = memchr::memchr(b'\n', octets).ok_or("it has no line that says for whom it is")?;
    let (head, message) = (&octets[..end], &octets[end + 1..]);
    if head.len() > most {
        return Err(format!("the line that says for whom it is has more than {most} octets"));
    }
    let version: Version = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    if version.v != VERSION {
        return Err(format!("it is of version {} of this format, and {VERSION} is known", version.v));
    }
    let head: Head = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    if !is_name(&head.name) {
        return Err("its name is none".to_owned());
    }
    if !is_message_id(&head.message_id) {
        return Err("its Message-ID is none".to_owned());
    }
    let from = head.from.as_deref().map(address).transpose()?;
    if head.to.len().max(head.last.len()) > MOST_RECIPIENTS {
        return Err(format!("no message has more than {MOST_RECIPIENTS} recipients"));
    }
    let mut to: Vec<Address> = Vec::with_capacity(head.to.len());
    let mut known = std::collections::HashSet::new();
    for text in &head.to {
        let address = address(text)?;
        if known.insert(address.clone()) {
            to.push(address);
        }
    }
    let envelope = Envelope::new(from, to).map_err(|error| error.to_string())?;
    if head.size.is_some_and(|size| size != message.len() as u64) {
        return Err(format!("the message has {} octets, and not as many as are told", message.len()));
    }
    is_canonical(message)?;
    let word = |what: &str| format!("its {what} is none");
    let notify = head
        .dsn_notify
        .as_deref()
        .map(|text| text.to_ascii_lowercase().parse::<DsnNotify>().map_err(|_| word("NOTIFY")));
    let ret = head.dsn_return.as_deref().map(|text| DsnReturn::from_word(text).ok_or_else(|| word("RET")));
    let envid = head.envid.filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'));
    let letter = Letter {
        name: head.name,
        job: Job {
            message_id: head.message_id,
            envelope,
            content: Content::default(),
            dsn: DsnRequest { notify: notify.transpose()?, ret: ret.transpose()?, envid },
            place: Place { profile: head.profile, ..Place::default() },
            priority: head.priority,
            due: head.due,
            expires: head.expires,
            key: None,
        },
        added: head.added,
        attempts: head.attempts,
        last: head.last,
    };
    Ok((letter, message))
}

/// Whether a message can have this name.
pub(super) fn is_name(text: &str) -> bool {
    text.len() == 20 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v'))
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

fn address(text: &str) -> Result<Address, String> {
    match Mailbox::parse(text) {
        Ok(Mailbox { name: None, address }) => Ok(address),
        _ => Err(format!("'{}' is no address", crate::mail::clean(text))),
    }
}

/// Whether it may leave as it is: nothing in it may look to one server like an end that another does not see.
fn is_canonical(message: &[u8]) -> Result<(), String> {
    if memchr::memchr(0, message).is_some() {
        return Err("there is a NUL in the message".to_owned());
    }
    for at in memchr::memchr2_iter(b'\r', b'\n', message) {
        let is_whole = match message[at] {
            b'\r' => message.get(at + 1) == Some(&b'\n'),
            _ => at > 0 && message[at - 1] == b'\r',
        };
        if !is_whole {
            return Err("there is a line end in the message that is not CR LF".to_owned());
        }
    }
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        return Err("the message does not end with CR LF".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter() -> Letter {
        let to = ["b@y.example", "\"odd @\"@y.example", "ü@y.example"];
        let to = to.iter().map(|to| Mailbox::parse(to).unwrap().address).collect();
        let from = Mailbox::parse("a@x.example").unwrap().address;
        let job = Job {
            message_id: "<1@x.example>".to_owned(),
            envelope: Envelope::new(Some(from), to).unwrap(),
            content: Content::from_bytes(b"Subject: x\r\n\r\nHello\r\n".to_vec()),
            dsn: DsnRequest {
                notify: Some(DsnNotify { success: true, failure: false, delay: true }),
                ret: Some(DsnReturn::Hdrs),
                envid: Some("E-1".to_owned()),
            },
            place: Place { profile: Some("work".to_owned()), ..Place::default() },
            priority: -1,
            due: Some(5),
            expires: 77,
            key: None,
        };
        Letter::new("0123456789abcdefghij".to_owned(), job, 3)
    }

    #[test]
    fn what_was_written_is_read() {
        let mut letter = letter();
        letter.attempts = 3;
        letter.last.insert("b@y.example".to_owned(), "450 later".to_owned());
        letter.last.insert("gone@y.example".to_owned(), "450 later".to_owned());
        let octets = letter.encode().unwrap();
        let read = Letter::decode(&octets).unwrap();
        assert_eq!(read.job.envelope.to(), letter.job.envelope.to());
        assert_eq!(read.job.envelope.from(), letter.job.envelope.from());
        assert_eq!((&read.job.dsn, &read.job.place), (&letter.job.dsn, &letter.job.place));
        assert_eq!((read.job.due, read.job.expires, read.added, read.attempts), (Some(5), 77, 3, 3));
        assert_eq!(read.last, letter.last);
        assert_eq!(read.encode().unwrap(), octets);
        let only = read.only(vec![read.job.envelope.to()[0].clone()]).unwrap();
        assert_eq!((only.job.envelope.to().len(), only.last.len()), (1, 1));
        assert!(read.only(Vec::new()).is_err());
    }

    /// What nobody would take is not even written.
    #[test]
    fn what_would_be_refused_is_not_sealed() {
        let good = letter();
        assert_eq!(good.seal(MOST_HEAD).unwrap(), good.encode().unwrap());
        let unfit = |letter: &Letter| match letter.seal(MOST_HEAD) {
            Err(QueueError::Unfit(what)) => what,
            other => panic!("{other:?}"),
        };
        for id in ["20261128.1234", "<a b@c>"] {
            let mut letter = letter();
            letter.job.message_id = id.to_owned();
            assert!(unfit(&letter).contains("Message-ID"));
        }
        let mut letter = letter();
        letter.job.content = Content::from_bytes(b"Subject: x\r\n\r\nHello".to_vec());
        assert!(unfit(&letter).contains("CR LF"));
        let to = |number: usize| (0..number).map(|number| Address::new_dangerous(format!("u{number}"), "y.example"));
        letter = good.clone();
        letter.job.envelope = Envelope::new(None, to(MOST_RECIPIENTS + 1).collect()).unwrap();
        assert!(unfit(&letter).contains("100000 recipients"));
        letter.job.envelope = Envelope::new(None, to(MOST_RECIPIENTS).collect()).unwrap();
        assert!(letter.seal(MOST_HEAD).is_ok());
    }

    /// A domain is the same however it is written (RFC 5321, 2.4).
    #[test]
    fn addresses_are_compared_as_such() {
        let mut letter = letter();
        let to = ["bob@WebSrv01", "bob@websrv01", "\"ada\"@y.example"];
        let address = |text: &str| {
            let (user, domain) = text.split_once('@').unwrap();
            Address::new_dangerous(user, domain)
        };
        letter.job.envelope = Envelope::new(Some(address("a@X.Example")), to.map(address).to_vec()).unwrap();
        let read = Letter::decode(&letter.seal(MOST_HEAD).unwrap()).unwrap().job.envelope;
        assert_eq!(read.from().unwrap().to_string(), "a@x.example");
        let to: Vec<String> = read.to().iter().map(ToString::to_string).collect();
        assert_eq!(to, ["bob@websrv01", "ada@y.example"]);
    }

    /// What a server needs for it the octets say, and nobody else.
    #[test]
    fn the_octets_say_what_they_are() {
        for (message, is_8bit, has_utf8_headers) in [
            (&b"Subject: x\r\n\r\nHello\r\n"[..], false, false),
            ("Subject: x\r\n\r\nHellö\r\n".as_bytes(), true, false),
            ("Subject: ö\r\n\r\nHello\r\n".as_bytes(), true, true),
            (b"Subject: \xf6\r\n\r\nHello\r\n", true, false),
        ] {
            for lie in [false, true] {
                let mut letter = letter();
                letter.job.content = Content::from_bytes(message.to_vec());
                (letter.job.content.is_8bit, letter.job.content.has_utf8_headers) = (lie, lie);
                let read = Letter::decode(&letter.encode().unwrap()).unwrap().job.content;
                assert_eq!((read.is_8bit, read.has_utf8_headers), (is_8bit, has_utf8_headers), "{lie}");
            }
        }
    }

    #[test]
    fn a_head_has_a_bound() {
        let head = |length: usize| [&b" ".repeat(length)[..], b"{\n"].concat();
        let most = MOST_HEAD;
        assert!(Letter::decode(&head(most)).unwrap_err().contains("8388608 octets"));
        assert!(!Letter::decode(&head(most - 1)).unwrap_err().contains("8388608 octets"));
    }

    /// Whoever may publish may write one: nothing of this world goes further.
    #[test]
    fn what_was_forged_is_refused() {
        let octets = letter().encode().unwrap();
        let text = String::from_utf8(octets).unwrap();
        for (from, to, why) in [
            ("b@y.example", "b@y.example\\r\\nRCPT TO:<c@z>", "no address"),
            ("a@x.example", "<>", "no address"),
            ("<1@x.example>", "<1@x.example>\\r\\nX: y", "Message-ID"),
            ("0123456789abcdefghij", "../../etc/passwd/abc", "name"),
            ("\"v\":1", "\"v\":2", "version 2"),
            ("Hello\r\n", "Hello\n.\r\n", "line end"),
            ("Hello\r\n", "Hello\r.\r\n", "line end"),
            ("Hello", "Hel\0lo", "NUL"),
            ("Hello\r\n", "Hello", "does not end"),
            ("SUCCESS", "ALWAYS", "NOTIFY"),
            ("\n", "", "no line"),
        ] {
            let forged = text.replace(from, to).replace(",\"size\":21", "");
            assert_ne!(forged, text);
            let error = Letter::decode(forged.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error} for {to}");
        }
        let error = Letter::decode(text.strip_suffix("Hello\r\n").unwrap().as_bytes()).unwrap_err();
        assert!(error.contains("14 octets"), "{error}");
        let place = text.replacen("\"profile\"", "\"server\":\"sendmail:/bin/sh\",\"profile\"", 1);
        let read = Letter::decode(place.as_bytes()).unwrap();
        assert_eq!(read.job.place, letter().job.place, "no server is taken from there");
    }

    proptest! {
        #[test]
        fn no_octets_are_too_odd(octets in proptest::collection::vec(any::<u8>(), 0..300), at in 0..400usize) {
            let _ = Letter::decode(&octets);
            let mut damaged = letter().encode().unwrap();
            let at = at % damaged.len();
            damaged.splice(at..at, octets);
            let _ = Letter::decode(&damaged);
        }
    }
}
