//! From the jobs of other programs to messages, composed as `mailsend` does it from its options.
//!
//! What is the same for many jobs is made once: profiles are resolved and templates compiled when the first job names
//! them, and stay so until the configuration changes.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{places::Places, roots::Roots};
use crate::{
    cli::{
        CliError,
        args::{CommonArgs, Context, WhereArgs},
        send::compose::default_sender,
    },
    config::{Profile, nearest, profile_names, resolve_queue},
    feed::{Facts, Refusal, dress},
    mail::{Address, Entry, Envelope, Mailbox, clean, parse_list},
    message::{
        Attachment, AttachmentSpec, ComposeError, Draft, Field, Input, Stamp, compose, date_of, id_domain, message_id,
    },
    queue::{Expiry, Foreign, ForeignFile, ForeignSource, Job, Place, Time},
    template::{self, Data, Names, Template, TemplateError},
};

/// Whatever other programs name, so much is kept of it.
const MAX_KEPT: usize = 1_000;
/// Of a reason, in characters.
const MAX_REASON: usize = 1_000;

/// Makes messages of jobs, for several threads at once.
pub(super) struct Jobs {
    places: Mutex<(Places, Arc<Settled>)>,
    /// As many as there are threads at work.
    stamps: Mutex<Vec<Stamp>>,
}

/// What follows from the configuration, as long as that stays as it is.
struct Settled {
    roots: Roots,
    /// How long a message waits that does not say it, in milliseconds.
    lifetime: i64,
    ways: Kept<Wish, Way>,
    templates: Kept<String, Template>,
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

impl Settled {
    fn of(context: &Context) -> Result<Self, CliError> {
        let table = resolve_queue(&context.files, &context.environment)?;
        Ok(Self {
            roots: Roots::new(table.attachment_roots),
            lifetime: i64::try_from(table.lifetime.as_millis()).unwrap_or(i64::MAX),
            ways: Kept::new(),
            templates: Kept::new(),
        })
    }
}

impl Jobs {
    /// For jobs that leave through a worker with this configuration; `own` is for those that name no profile.
    ///
    /// # Errors
    /// If the configuration or what was said on the command line is wrong.
    pub fn new(context: Context, common: &CommonArgs, own: WhereArgs) -> Result<Self, CliError> {
        let settled = Arc::new(Settled::of(&context)?);
        let places = Places::new(context, common, own, None)?;
        Ok(Self { places: Mutex::new((places, settled)), stamps: Mutex::default() })
    }

    /// Makes the message. Reads the files that the job or its template names, and blocks meanwhile.
    ///
    /// # Errors
    /// With a clause for people that says what is wrong with the job: clean, of at most 1,000 characters, without the
    /// message's text.
    pub fn make(&self, foreign: Foreign, facts: &Facts) -> Result<Job, Refusal> {
        let short = |reason: String| clean(&reason).chars().take(MAX_REASON).collect();
        let settled = self.settled();
        let never = |reason| Refusal { reason: short(reason), is_passing: false };
        let named = sender(&foreign).map_err(never)?;
        let way = self.way(&settled, foreign.profile.as_deref(), named.as_ref()).map_err(|reason| {
            // A profile that is there and wrong is no job's fault.
            let names = profile_names(&locked(&self.places).0.context().files);
            let is_passing = foreign.profile.as_ref().is_none_or(|name| names.contains_key(name));
            Refusal { reason: short(reason), is_passing }
        })?;
        self.made(foreign, facts, &settled, named, &way).map_err(never)
    }

    fn made(
        &self,
        foreign: Foreign,
        facts: &Facts,
        settled: &Settled,
        named: Option<Mailbox>,
        way: &Way,
    ) -> Result<Job, String> {
        let (due, expires) = terms(&foreign, facts.published, settled.lifetime)?;
        let dsn = foreign.dsn.clone();
        let from = named.map_or_else(|| way.sender.clone(), Ok)?;
        let draft = self.draft(settled, foreign, from, &way.profile, facts)?;

        let mut stamp = locked(&self.stamps).pop().unwrap_or_else(Stamp::now);
        stamp.renew();
        let message = compose(&draft, &mut stamp);
        locked(&self.stamps).push(stamp);
        let message = message.map_err(told)?;
        let return_path = way.profile.return_path(Some(&draft.from.address));
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

    /// What follows from the configuration as it is now. Of what is wrong with it the worker tells, and goes on with what
    /// it had.
    fn settled(&self) -> Arc<Settled> {
        let mut guard = locked(&self.places);
        let (places, settled) = &mut *guard;
        if let Ok(true) = places.refresh(false)
            && let Ok(fresh) = Settled::of(places.context())
        {
            *settled = Arc::new(fresh);
        }
        settled.clone()
    }

    /// The way that a job means which names this profile, or else this sender.
    fn way(&self, settled: &Settled, profile: Option<&str>, sender: Option<&Mailbox>) -> Result<Arc<Way>, String> {
        let wish = match (profile, sender) {
            (Some(name), _) => Wish::Profile(name.to_owned()),
            (None, Some(sender)) => Wish::Sender(sender.address.clone()),
            (None, None) => Wish::None,
        };
        settled.ways.get(&wish, || find_way(&locked(&self.places).0, &wish))
    }

    fn draft(
        &self,
        settled: &Settled,
        foreign: Foreign,
        from: Mailbox,
        profile: &Profile,
        facts: &Facts,
    ) -> Result<Draft, String> {
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
            draft.attachments.push(attachment(&settled.roots, &format!("`attachments[{number}]`"), file)?);
        }
        if let Some(name) = &foreign.template {
            self.use_template(settled, name, foreign.data, &mut draft)?;
        }
        let own_id = || format!("<{}@{}>", facts.mark, id_domain(draft.from.address.domain()));
        draft.message_id = draft.message_id.take().or_else(|| Some(own_id()));
        if let Ok(published) = Timestamp::from_millisecond(facts.published) {
            draft.date.get_or_insert_with(|| date_of(published.as_second()));
        }
        Ok(draft)
    }

    /// Fills what the job has left open with what the template gives.
    fn use_template(
        &self,
        settled: &Settled,
        name: &str,
        data: Map<String, Value>,
        draft: &mut Draft,
    ) -> Result<(), String> {
        // A job names what the configuration knows, and no folder of this machine.
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Err("`template`: the name of a template is wanted, not a path".to_owned());
        }
        let wrong = |error: TemplateError| format!("`template`: {error}");
        let load = || template::load(name, &locked(&self.places).0.context().files).map_err(wrong);
        let template = settled.templates.get(&name.to_owned(), load)?;
        template.check(&Names { given: data.keys().cloned().collect(), optional: Vec::new() }).map_err(wrong)?;
        let rendered = template.render(&Data::new(Value::Object(data)), None).map_err(wrong)?;
        dress(draft, rendered).map_err(told)
    }
}

fn find_way(places: &Places, wish: &Wish) -> Result<Way, String> {
    let place = match wish {
        Wish::Profile(name) => {
            let names = profile_names(&places.context().files);
            if !names.contains_key(name) {
                let near = nearest(name, names.keys().map(String::as_str));
                let near = near.map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
                return Err(format!("`profile`: there is no profile '{name}'{near}"));
            }
            Place { profile: Some(name.clone()), ..Place::default() }
        }
        Wish::Sender(sender) => places.of_sender(sender).map_err(|error| error.message)?,
        Wish::None => Place::default(),
    };
    let profile = places.profile(&place).map_err(|error| error.message)?;
    let sender = default_sender(places.context(), &profile).map_err(|_| match &profile.name {
        Some(name) => format!("`from` is missing, and the profile '{name}' names no sender"),
        None => "`from` is missing, and there is no profile that names a sender".to_owned(),
    });
    Ok(Way { place, profile, sender })
}

/// When it is due and when it expires: the same whenever the job comes again.
fn terms(foreign: &Foreign, published: Time, lifetime: i64) -> Result<(Option<Time>, Time), String> {
    let due = foreign.not_before;
    let after = |time: i64| due.unwrap_or(published).max(published).saturating_add(time);
    let expires = match foreign.expires {
        None => after(lifetime),
        Some(Expiry::After(time)) => after(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)),
        Some(Expiry::At(moment)) => moment,
    };
    match due {
        Some(due) if expires <= due => Err("`expires` is not after `not_before`".to_owned()),
        _ => Ok((due, expires)),
    }
}

fn attachment(roots: &Roots, place: &str, file: ForeignFile) -> Result<Attachment, String> {
    let ForeignFile { source, name, media_type } = file;
    let path = match &source {
        ForeignSource::Path(path) => path.as_str(),
        ForeignSource::Octets(_) => "attachment",
    };
    let input = Input::Path(PathBuf::from(path));
    let spec = AttachmentSpec { input, name, media_type, cid: None, charset: None };
    match source {
        ForeignSource::Path(path) => {
            let file = roots.open(&path).map_err(|what| format!("{place}: {what}"))?;
            spec.open_file(place, file).map_err(told)
        }
        ForeignSource::Octets(octets) => spec.open_octets(place, octets).map_err(told),
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
