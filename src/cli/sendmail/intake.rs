//! From what a program hands over to letters: who it is for and from, by which profile it leaves, and that it is safe.

use std::{collections::HashSet, io::Read};

use crate::{
    cli::{
        CliError, Exit,
        args::{CommonArgs, Context},
        local,
        send::compose::Letter,
        submit::{Taken, submit},
        user::own_mailbox,
    },
    config::{Aliases, Expanded, Profile, Request, resolve, resolve_sendmail},
    mail::{Address, DsnRequest, Entry, Envelope, Mailbox, parse_list_at},
    message::{Handover, Stamp, read_submitted},
    net::host_name,
};

/// The domain of names that were said without one, until it is known whether they are aliases.
const LOCAL: &str = "localhost";
/// What cron calls itself (-F).
const CRON: &str = "CronDaemon";

/// Where messages are handed in.
pub(super) struct Intake<'a> {
    context: &'a Context,
    common: &'a CommonArgs,
    /// Of names that have none.
    domain: String,
    aliases: Aliases,
}

/// What a program says beside a message.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// Who gets reports: `None` for the null sender; nothing, if the program has not said.
    pub sender: Option<Option<Address>>,
    /// The sender's name, where the message has no From.
    pub full_name: Option<String>,
    /// Recipients, names without a domain at `localhost`, and the reports that are wished for them.
    pub groups: Vec<(Vec<Address>, DsnRequest)>,
    /// Those of the header are recipients of the first group.
    pub reads_recipients: bool,
    /// A line with a lone dot ends the message.
    pub ends_at_dot: bool,
}

impl<'a> Intake<'a> {
    /// Reads what holds for all messages.
    ///
    /// # Errors
    /// If the configuration or a file of aliases is wrong.
    pub fn new(context: &'a Context, common: &'a CommonArgs) -> Result<Self, CliError> {
        let table = resolve_sendmail(&context.files, &context.environment)?;
        let domain = table.domain.clone().unwrap_or_else(host_name);
        let aliases = Aliases::new(&context.files, &context.environment, &table, false);
        Ok(Self { context, common, domain, aliases })
    }

    /// The domain of this machine's names.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Addresses of the command line; a word may be a list.
    ///
    /// # Errors
    /// 65: what is none.
    pub fn recipients(words: &[String]) -> Result<Vec<Address>, CliError> {
        let mut addresses = Vec::new();
        for word in words {
            let list = parse_list_at(word, LOCAL).map_err(|error| CliError::address("recipient", &error))?;
            addresses.extend(list.iter().flat_map(Entry::mailboxes).map(|mailbox| mailbox.address.clone()));
        }
        Ok(addresses)
    }

    /// The return path that `-f` says.
    ///
    /// # Errors
    /// 65: what is no address.
    pub fn sender(&self, text: &str) -> Result<Option<Address>, CliError> {
        if matches!(text.trim(), "" | "<>") {
            return Ok(None);
        }
        let list = parse_list_at(text, &self.domain).map_err(|error| CliError::address("-f", &error))?;
        match list.as_slice() {
            [Entry::Mailbox(mailbox)] => Ok(Some(mailbox.address.clone())),
            _ => Err(CliError::new(Exit::Data, "-f: one address is wanted")),
        }
    }

    /// What recipients come to.
    ///
    /// # Errors
    /// An alias that goes round in a circle, or stands for what is not allowed.
    pub fn expand(&self, recipients: &[Address]) -> Result<Expanded, CliError> {
        let mailboxes: Vec<Mailbox> =
            recipients.iter().map(|address| Mailbox { name: None, address: address.clone() }).collect();
        Ok(self.aliases.expand(&mailboxes)?)
    }

    /// The profile for messages of these senders, the strongest first; none is the null sender.
    ///
    /// # Errors
    /// Of the configuration.
    pub fn profile(&self, senders: &[Option<&Address>]) -> Result<Profile, CliError> {
        let text = |sender: &Option<&Address>| sender.map_or_else(String::new, ToString::to_string);
        let request = Request { senders: senders.iter().map(text).collect(), ..Request::default() };
        Ok(resolve(&request, &self.context.files, &self.context.environment)?)
    }

    /// Takes a message.
    ///
    /// # Errors
    /// 66, if it has no recipients; 65, if it cannot be one; 75, if it could not be made safe; 78.
    pub fn take(&self, reader: impl Read, offer: Offer) -> Result<Taken, CliError> {
        let Offer { sender, full_name, mut groups, reads_recipients, ends_at_dot } = offer;
        let said: Vec<Option<&Address>> = sender.iter().map(Option::as_ref).collect();
        let mut profile = self.profile(&said)?;
        let default_from = self.default_from(sender.as_ref(), full_name.as_deref(), &profile)?;
        let named: Vec<Address> = groups.iter().flat_map(|(to, _)| to).map(|to| self.aliases.whole(to)).collect();
        let handover = Handover {
            domain: &self.domain,
            default_from: &default_from,
            wants_recipients: reads_recipients,
            named: &named,
            ends_at_dot,
            is_of_cron: full_name.as_deref() == Some(CRON),
        };
        let message = read_submitted(reader, &handover, &mut Stamp::now())?;
        // One that cannot be understood is nobody's: reports go to whoever sends.
        let from = message.from.as_ref().unwrap_or(&default_from.address);
        if *from != default_from.address {
            let null = said.iter().filter(|sender| sender.is_none());
            let senders: Vec<_> = null.chain([&Some(from)]).chain(&said).copied().collect();
            profile = self.profile(&senders)?;
        }
        if reads_recipients {
            if groups.is_empty() {
                groups.push((Vec::new(), DsnRequest::default()));
            }
            groups[0].0.extend(message.recipients);
            if groups.iter().all(|(to, _)| to.is_empty()) {
                return Err(CliError::new(Exit::NoInput, "the message names no recipients: To, Cc and Bcc are empty"));
            }
        }
        let return_path = match &sender {
            Some(None) => None,
            Some(said) => profile.return_path(said.as_ref()),
            None => profile.return_path(Some(from)),
        };

        let (mut letters, mut seen) = (Vec::new(), HashSet::new());
        let (mut places, mut known) = (Vec::new(), HashSet::new());
        for (to, dsn) in groups {
            let expanded = self.expand(&to)?;
            places.extend(expanded.places.into_iter().filter(|place| known.insert(place.clone())));
            let addresses = expanded.mailboxes.into_iter().map(|mailbox| mailbox.address);
            let to: Vec<Address> = addresses.filter(|to| seen.insert(to.clone())).collect();
            let Ok(envelope) = Envelope::new(return_path.clone(), to) else { continue };
            letters.push(Letter {
                message_id: message.message_id.clone(),
                envelope,
                content: message.content.clone(),
                dsn,
                subject: None,
                parts: Vec::new(),
            });
        }
        let has_letters = !letters.is_empty();
        let taken = match has_letters {
            true => submit(letters, &profile, self.context, self.common)?,
            false => Taken::Kept(Vec::new()),
        };
        let so_far = has_letters.then(|| Ok(taken.exit()));
        match local::hand_out_after(so_far, &places, &message.content, return_path.as_ref(), &profile)? {
            Exit::Success => Ok(taken),
            // A file that cannot be written now may be so later.
            Exit::Io if !has_letters => Ok(Taken::Sent(Exit::TryAgain)),
            exit => Ok(Taken::Sent(exit)),
        }
    }

    /// Who writes where the message does not say it: `-f`, EMAIL, the profile, or this user at this machine.
    fn default_from(
        &self,
        sender: Option<&Option<Address>>,
        full_name: Option<&str>,
        profile: &Profile,
    ) -> Result<Mailbox, CliError> {
        let said = full_name.filter(|name| !name.is_empty()).map(str::to_owned);
        if let Some(Some(address)) = sender {
            return Ok(Mailbox { name: said, address: address.clone() });
        }
        if let Some(from) = &profile.from {
            return Ok(Mailbox { name: said.or_else(|| from.name.clone()), address: from.address.clone() });
        }
        let own = own_mailbox(self.context, &self.domain)
            .ok_or_else(|| CliError::new(Exit::Configuration, "nobody is named as the sender").hint("name one: -f"))?;
        Ok(Mailbox { name: said.or(own.name), ..own })
    }
}
