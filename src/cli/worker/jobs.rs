//! From the jobs of other programs to messages, composed as `mailsend` does it from its options.
//!
//! What is the same for many jobs is made once: profiles are resolved and templates compiled when the first job names them,
//! and stay so for the life of the value; whoever reads the configuration anew makes another.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde_json::Value;

use super::{places::Places, roots::Roots};
use crate::{
    cli::{
        CliError,
        args::{Context, WhereArgs},
        send::compose::default_sender,
    },
    config::{Profile, nearest, profile_names, resolve_queue},
    feed::dress,
    mail::{Address, Entry, Envelope, Mailbox, clean, parse_list},
    message::{Attachment, AttachmentSpec, ComposeError, Draft, Field, Input, Stamp, compose, date_of, message_id},
    queue::{Expiry, Foreign, ForeignFile, ForeignSource, Job, Place, Time},
    template::{self, Data, Names, Template},
};

/// Whatever other programs name, so much is kept of it.
const MAX_KEPT: usize = 1_000;
/// Of a reason, in characters.
const MAX_REASON: usize = 1_000;

/// Makes messages of jobs, for several threads at once.
pub(super) struct Jobs {
    places: Places,
    roots: Roots,
    /// How long a message waits that does not say it, in milliseconds.
    lifetime: i64,
    ways: Kept<Wish, Way>,
    templates: Kept<String, Template>,
    /// As many as there are threads at work.
    stamps: Mutex<Vec<Stamp>>,
}

/// What is known of a job beside what it says.
pub(super) struct Facts {
    /// The Message-ID of a job that has none, with its angle brackets: the same whenever the job comes again.
    pub message_id: String,
    /// When the job was published, if that is known: the Date of a job that has none.
    pub date: Option<Timestamp>,
    /// The present.
    pub now: Time,
}

/// What a job says of its way.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Wish {
    Profile(String),
    Sender(Address),
    None,
}

/// By which way, and what the profile gives to messages.
struct Way {
    place: Place,
    profile: Profile,
    /// The sender of a job that names none, or why there is none.
    sender: Result<Mailbox, String>,
}

/// What was made once.
struct Kept<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K: std::hash::Hash + Eq + Clone, V> Kept<K, V> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// What is kept, or what `make` makes now; of errors nothing is kept.
    fn get(&self, key: &K, make: impl FnOnce() -> Result<V, String>) -> Result<Arc<V>, String> {
        if let Some(found) = locked(&self.0).get(key) {
            return Ok(found.clone());
        }
        let made = Arc::new(make()?);
        let mut all = locked(&self.0);
        if all.len() >= MAX_KEPT {
            all.clear();
        }
        all.insert(key.clone(), made.clone());
        Ok(made)
    }
}

/// A defect elsewhere leaves nothing half done in here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    /// For jobs that leave through a worker with this configuration; `own` is for those that name no profile.
    ///
    /// # Errors
    /// If the configuration or what was said on the command line is wrong.
    pub fn new(context: Context, own: WhereArgs) -> Result<Self, CliError> {
        let table = resolve_queue(&context.files, &context.environment)?;
        Ok(Self {
            places: Places::new(context, own, None)?,
            roots: Roots::new(table.attachment_roots),
            lifetime: i64::try_from(table.lifetime.as_millis()).unwrap_or(i64::MAX),
            ways: Kept::new(),
            templates: Kept::new(),
            stamps: Mutex::default(),
        })
    }

    /// Makes the message. Reads the files that the job or its template names, and blocks meanwhile.
    ///
    /// # Errors
    /// With a clause for people that says what is wrong with the job: clean, of at most 1,000 characters, without the
    /// message's text.
    pub fn make(&self, foreign: Foreign, facts: &Facts) -> Result<Job, String> {
        self.made(foreign, facts).map_err(|reason| clean(&reason).chars().take(MAX_REASON).collect())
    }

    fn made(&self, foreign: Foreign, facts: &Facts) -> Result<Job, String> {
        let named = sender(&foreign)?;
        let way = self.way(foreign.profile.as_deref(), named.as_ref())?;
        let (due, expires) = self.terms(&foreign, facts.now)?;
        let dsn = foreign.dsn.clone();
        let from = named.map_or_else(|| way.sender.clone(), Ok)?;
        let draft = self.draft(foreign, from, &way.profile, facts)?;

        let mut stamp = locked(&self.stamps).pop().unwrap_or_else(Stamp::now);
        stamp.renew();
        let message = compose(&draft, &mut stamp);
        locked(&self.stamps).push(stamp);
        let message = message.map_err(told)?;
        let return_path = (!way.profile.has_null_sender).then(|| draft.from.address.clone());
        Ok(Job {
            message_id: message.message_id,
            envelope: Envelope::new(return_path, message.recipients).map_err(|_| "`to` names nobody".to_owned())?,
            content: message.content,
            dsn,
            place: way.place.clone(),
            priority: 0,
            due,
            expires,
            key: None,
        })
    }

    /// The way that a job means which names this profile, or else this sender.
    fn way(&self, profile: Option<&str>, sender: Option<&Mailbox>) -> Result<Arc<Way>, String> {
        let wish = match (profile, sender) {
            (Some(name), _) => Wish::Profile(name.to_owned()),
            (None, Some(sender)) => Wish::Sender(sender.address.clone()),
            (None, None) => Wish::None,
        };
        self.ways.get(&wish, || self.find_way(&wish))
    }

    fn find_way(&self, wish: &Wish) -> Result<Way, String> {
        let context = self.places.context();
        let place = match wish {
            Wish::Profile(name) => {
                let names = profile_names(&context.files);
                if !names.contains_key(name) {
                    let near = nearest(name, names.keys().map(String::as_str));
                    let near = near.map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
                    return Err(format!("`profile`: there is no profile '{name}'{near}"));
                }
                Place { profile: Some(name.clone()), ..Place::default() }
            }
            Wish::Sender(sender) => self.places.of_sender(sender).map_err(|error| error.message)?,
            Wish::None => Place::default(),
        };
        let profile = self.places.profile(&place).map_err(|error| error.message)?;
        let sender = default_sender(context, &profile).map_err(|_| match &profile.name {
            Some(name) => format!("`from` is missing, and the profile '{name}' names no sender"),
            None => "`from` is missing, and there is no profile that names a sender".to_owned(),
        });
        Ok(Way { place, profile, sender })
    }

    /// When it is due and when it expires.
    fn terms(&self, foreign: &Foreign, now: Time) -> Result<(Option<Time>, Time), String> {
        let due = foreign.not_before.filter(|due| *due > now);
        let after = |time: i64| due.unwrap_or(now).saturating_add(time);
        let expires = match foreign.expires {
            None => after(self.lifetime),
            Some(Expiry::After(time)) => after(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
            Some(Expiry::At(moment)) => moment,
        };
        match due {
            Some(due) if expires <= due => Err("`expires` is not after `not_before`".to_owned()),
            _ => Ok((due, expires)),
        }
    }

    fn draft(&self, foreign: Foreign, from: Mailbox, profile: &Profile, facts: &Facts) -> Result<Draft, String> {
        let mut draft = Draft::new(from);
        draft.to = entries("to", &foreign.to)?;
        draft.cc = entries("cc", &foreign.cc)?;
        draft.bcc = entries("bcc", &foreign.bcc)?;
        draft.reply_to = entries("reply_to", &foreign.reply_to)?;
        draft.subject = foreign.subject;
        draft.message_id = foreign.message_id.map(|id| message_id("`message_id`", &id)).transpose().map_err(told)?;
        draft.text = foreign.text.map(Into::into);
        draft.html = foreign.html.map(Into::into);
        draft.markdown = foreign.markdown.map(Into::into);
        fields(&foreign.headers, &mut draft)?;
        if draft.reply_to.is_empty() {
            draft.reply_to.clone_from(&profile.reply_to);
        }
        for (number, file) in foreign.attachments.into_iter().enumerate() {
            draft.attachments.push(self.attachment(&format!("`attachments[{number}]`"), file)?);
        }
        if let Some(name) = &foreign.template {
            self.use_template(name, foreign.data, &mut draft)?;
        }
        draft.message_id.get_or_insert_with(|| facts.message_id.clone());
        if let Some(date) = facts.date {
            draft.date.get_or_insert_with(|| date_of(date.as_second()));
        }
        Ok(draft)
    }

    fn attachment(&self, place: &str, file: ForeignFile) -> Result<Attachment, String> {
        let ForeignFile { source, name, media_type } = file;
        let path = match &source {
            ForeignSource::Path(path) => path.as_str(),
            ForeignSource::Octets(_) => "attachment",
        };
        let input = Input::Path(PathBuf::from(path));
        let spec = AttachmentSpec { input, name, media_type, cid: None, charset: None };
        match source {
            ForeignSource::Path(path) => {
                let file = self.roots.open(&path).map_err(|what| format!("{place}: {what}"))?;
                spec.open_file(place, file).map_err(told)
            }
            ForeignSource::Octets(octets) => spec.open_octets(place, octets).map_err(told),
        }
    }

    /// Fills what the job has left open with what the template gives.
    fn use_template(&self, name: &str, data: serde_json::Map<String, Value>, draft: &mut Draft) -> Result<(), String> {
        // A job names what the configuration knows, and no folder of this machine.
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Err("`template`: the name of a template is wanted, not a path".to_owned());
        }
        let template = self.templates.get(&name.to_owned(), || {
            template::load(name, &self.places.context().files).map_err(|error| format!("`template`: {error}"))
        })?;
        let wrong = |error: template::TemplateError| format!("`template`: {error}");
        template.check(&Names { given: data.keys().cloned().collect(), optional: Vec::new() }).map_err(wrong)?;
        let rendered = template.render(&Data::new(Value::Object(data)), None).map_err(wrong)?;
        dress(draft, rendered).map_err(told)
    }
}

/// Whom the job names as the sender: by its field, or by a header field.
fn sender(foreign: &Foreign) -> Result<Option<Mailbox>, String> {
    let headers = foreign.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("From"));
    let mut named = foreign.from.iter().chain(headers.map(|(_, value)| value));
    let Some(from) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        return Err("`from` is given twice".to_owned());
    }
    Mailbox::parse(from).map(Some).map_err(|error| format!("`from`: {error}"))
}

fn entries(name: &str, lists: &[String]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::with_capacity(lists.len());
    for list in lists {
        entries.extend(parse_list(list).map_err(|error| format!("`{name}`: {error}"))?);
    }
    Ok(entries)
}

fn fields(headers: &[(String, String)], draft: &mut Draft) -> Result<(), String> {
    let mut has_own = false;
    for (name, value) in headers {
        let wrong = |error: ComposeError| match error {
            ComposeError::Value { field, what } if field.starts_with("--") => format!("`headers`: {what}"),
            other => format!("`headers`: {other}"),
        };
        if name.contains(':') {
            return Err(format!("`headers`: the name '{name}' contains a colon"));
        }
        let field = Field::parse(&format!("{name}: {value}")).map_err(wrong)?;
        has_own |= name.eq_ignore_ascii_case("Auto-Submitted");
        draft.add_field(field).map_err(wrong)?;
    }
    if !has_own {
        // RFC 3834, 5: nobody's vacation notice answers it.
        let field = Field::parse("Auto-Submitted: auto-generated").map_err(told)?;
        draft.add_field(field).map_err(told)?;
    }
    Ok(())
}

/// The error of an option as that of a field.
fn told(error: ComposeError) -> String {
    error.to_string().replace("--html", "`html`").replace("--body", "`text`")
}

#[cfg(test)]
mod tests;
