//! Who runs this, where the environment does not tell: in containers, in services, under cron and PHP.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::args::Context;
use crate::{
    config::Environment,
    mail::{Entry, Mailbox, parse_list_at},
};

/// A user as passwd(5) has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The full name, if there is one.
    pub full_name: Option<String>,
    /// The home, whether it is there or not.
    pub home: Option<PathBuf>,
}

impl User {
    /// The effective user of this process.
    pub fn of_process() -> Option<Self> {
        #[cfg(unix)]
        {
            let id = rustix::process::geteuid().as_raw();
            Self::of_passwd(&fs::read("/etc/passwd").ok()?, id)
        }
        #[cfg(not(unix))]
        None
    }

    #[cfg(any(unix, test))]
    fn of_passwd(passwd: &[u8], id: u32) -> Option<Self> {
        let passwd = String::from_utf8_lossy(passwd);
        let id = id.to_string();
        // name:password:id:group:GECOS:home:shell
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let user = passwd.lines().map(fields).find(|user| user.get(2) == Some(&id))?;
        let field = |number: usize| user.get(number).filter(|text| !text.is_empty()).cloned();
        let name = field(0)?;
        // The first of several things that finger(1) shows; an ampersand is the login name.
        let gecos = field(4).unwrap_or_default();
        let full_name = gecos.split(',').next().unwrap_or_default().trim().replace('&', &capitalised(&name));
        Some(Self {
            full_name: Some(full_name).filter(|full_name| !full_name.is_empty()),
            home: field(5).map(PathBuf::from),
            name,
        })
    }
}

/// This user at this machine: the sender where nobody names another.
pub fn own_mailbox(context: &Context, domain: &str) -> Option<Mailbox> {
    // In a container a user may be a number only.
    #[cfg(unix)]
    let number = Some(format!("uid{}", rustix::process::geteuid().as_raw()));
    #[cfg(not(unix))]
    let number = None;
    let login = login_name(context).or(number)?;
    let full_name = || {
        let named = context.environment.get("NAME").map(str::to_owned);
        named.or_else(|| User::of_process().filter(|user| user.name == login)?.full_name)
    };
    // Whatever is in it: some directories of users have names like DOMAIN\user.
    let quoted = format!("\"{}\"", login.replace('\\', "\\\\").replace('"', "\\\""));
    let list = parse_list_at(&quoted, domain).ok()?;
    let address = list.iter().flat_map(Entry::mailboxes).next()?.address.clone();
    Some(Mailbox { name: full_name(), address })
}

/// Whether HOME can be the home of this user. Services often have none, or that of the machine's first process; and cron
/// hands its own, which is root's, to the sendmail that it calls as another user.
pub fn has_home(environment: &Environment) -> bool {
    let is_closed =
        |home: &Path| fs::metadata(home.join(".")).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    environment.path("HOME").is_some_and(|home| home != Path::new("/") && !is_closed(&home))
}

/// The name that this user logs in by: as the environment says, else as the system does.
fn login_name(context: &Context) -> Option<String> {
    let named = ["LOGNAME", "USER"].iter().find_map(|name| context.environment.get(name)).map(str::to_owned);
    named.or_else(|| User::of_process().map(|user| user.name))
}

#[cfg(any(unix, test))]
fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of another user is closed, but nothing is for root.
    #[test]
    fn homes() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert!(has_home(&Environment::from([("HOME", home)])));
        assert!(has_home(&Environment::from([("HOME", "/nonexistent")])));
        for home in ["", "/", "//"] {
            assert!(!has_home(&Environment::from([("HOME", home)])), "{home}");
        }
        assert!(!has_home(&Environment::default()));
    }

    #[test]
    fn users_of_passwd() {
        let passwd = b"root:x:0:0:& of all,,:/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n\
                       ada:x:1000:1000:Ada Lovelace,Room 1,\xFC:/home/ada:/bin/sh\nbroken\n";
        let user = |id| User::of_passwd(passwd, id);
        assert_eq!(user(0).unwrap().full_name.as_deref(), Some("Root of all"));
        assert_eq!(
            user(33).unwrap(),
            User { name: "www-data".to_owned(), full_name: None, home: Some("/var/www".into()) }
        );
        assert_eq!(user(1000).unwrap().full_name.as_deref(), Some("Ada Lovelace"));
        assert_eq!(user(7), None);
    }
}
