//! `mailsend profile import`: profiles out of what msmtp, git and mutt are configured with.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use clap::{Args, ValueEnum, ValueHint};

use super::{CliError, Exit, args::CommonArgs, printed, profile, ui};
use crate::{
    config::{
        Auth, ConfigError, Edit, Environment, Files, Request,
        import::{Draft, Found, git, msmtp, mutt},
        profile_names, resolve,
    },
    mail::clean,
    secret,
};

/// Larger files are no configuration.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// Take over profiles from msmtp, git or mutt
///
/// Without FILE everything is looked for where these programs keep it. What cannot be carried over is said with its
/// line. Passwords are not copied: those that a command prints stay with their command, others are given to mailsend
/// login once.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The configuration of msmtp or mutt, or git's
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Whose configuration it is
    #[arg(long, value_name = "PROGRAM")]
    from: Option<Program>,
    /// Replace profiles of the same name
    #[arg(long)]
    replace: bool,
    /// Print what would be added, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    /// ~/.msmtprc
    Msmtp,
    /// The section sendemail of git's configuration
    Git,
    /// ~/.muttrc
    Mutt,
}

impl Program {
    const ALL: [Program; 3] = [Program::Msmtp, Program::Git, Program::Mutt];

    /// Whose file this is, by its name.
    fn of(path: &Path) -> Option<Self> {
        let name = path.to_string_lossy().to_lowercase();
        let is_named = |words: &[&str]| words.iter().any(|word| name.contains(word));
        match () {
            () if is_named(&["msmtp"]) => Some(Program::Msmtp),
            () if is_named(&["mutt"]) => Some(Program::Mutt),
            () if is_named(&["gitconfig", "git/config"]) => Some(Program::Git),
            () => None,
        }
    }

    /// Where its configuration may be; the first that is there is the one.
    fn places(self, environment: &Environment) -> Vec<PathBuf> {
        let home = environment.path("HOME");
        let folder = environment.path("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let in_folder = |name: &str| folder.as_ref().map(|folder| folder.join(name));
        let places = match self {
            Program::Msmtp => vec![in_home(".msmtprc"), in_folder("msmtp/config")],
            Program::Git => Vec::new(),
            Program::Mutt => vec![
                in_home(".muttrc"),
                in_home(".mutt/muttrc"),
                in_folder("mutt/muttrc"),
                in_home(".neomuttrc"),
                in_folder("neomutt/neomuttrc"),
            ],
        };
        places.into_iter().flatten().collect()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Program::Msmtp => "msmtp",
            Program::Git => "git",
            Program::Mutt => "mutt",
        })
    }
}

/// A configuration that was there.
struct Source {
    /// As it is named to people.
    name: String,
    /// Where relative paths in it start.
    folder: PathBuf,
    found: Found,
}

/// Takes over profiles.
pub fn import(args: &ImportArgs) -> Result<Exit, CliError> {
    let (context, mut edit, path) = profile::edit(&args.common)?;
    let sources = sources(args, &context.environment)?;
    if sources.iter().all(|source| source.found == Found::default()) {
        return Err(nothing(args, &sources));
    }
    let mut new = Edit::new(Path::new(&path));
    let mut import =
        Import { args, environment: &context.environment, is_quiet: context.is_quiet, taken: Vec::new(), kept: 0 };
    for source in &sources {
        for draft in &source.found.profiles {
            import.take(source, draft, &mut edit, &mut new);
        }
        for remark in &source.found.remarks {
            let place = if remark.line == 0 { String::new() } else { format!(":{}", remark.line) };
            import.tell(&format!("{}{place}: {}: {}", source.name, remark.setting, remark.advice));
        }
    }
    if import.taken.is_empty() {
        if import.kept > 0 {
            return Ok(Exit::Success);
        }
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let what = format!("there is no profile to be made of {}", names.join(", "));
        return Err(CliError::new(Exit::Configuration, what)
            .hint("set one up by hand: mailsend profile add NAME --server smtps://USER@HOST --from ADDRESS"));
    }
    let default = sources.iter().find_map(|source| source.found.default.clone());
    let default = default.filter(|name| edit.default_profile().is_none() && edit.has_profile(name));
    let is_first = profile_names(&context.files).is_empty();
    if let Some(name) = default.filter(|_| is_first) {
        edit.set_default_profile(&name);
        new.set_default_profile(&name);
    }
    if args.dry_run {
        drop(edit);
        return printed(ui::print(&new.text()));
    }
    edit.save().map_err(profile::cannot_write)?;
    import.tell_what_is_next(&path, edit.default_profile());
    Ok(Exit::Success)
}

fn sources(args: &ImportArgs, environment: &Environment) -> Result<Vec<Source>, CliError> {
    let here = std::env::current_dir().unwrap_or_default();
    let program = args.from.or_else(|| Program::of(args.file.as_deref()?));
    match (&args.file, program) {
        (Some(file), Some(program)) => Ok(vec![read(program, file, &here, environment)?]),
        (Some(file), None) => Err(CliError::usage(format!("whose configuration is {}?", file.display()))
            .hint("say it: --from msmtp, --from git or --from mutt")),
        (None, program) => {
            let mut sources = Vec::new();
            for program in Program::ALL.into_iter().filter(|one| program.is_none_or(|program| program == *one)) {
                if program == Program::Git {
                    sources.extend(of_git(None)?);
                }
                let places = program.places(environment);
                if let Some(file) = places.iter().find(|place| place.exists()) {
                    sources.push(read(program, file, &here, environment)?);
                }
            }
            Ok(sources)
        }
    }
}

fn read(program: Program, file: &Path, here: &Path, environment: &Environment) -> Result<Source, CliError> {
    let name = file.display().to_string();
    if program == Program::Git {
        // Git itself says nothing of a file that is not there.
        fs::File::open(file).map_err(|error| CliError::no_input(&name, error))?;
        return of_git(Some(file))?
            .ok_or_else(|| CliError::new(Exit::NoInput, "git, which reads its files, is not here"));
    }
    let metadata = fs::metadata(file).map_err(|error| CliError::no_input(&name, error))?;
    if metadata.len() > MAX_SIZE {
        return Err(CliError::no_input(&name, io::Error::other("it is too large for a configuration")));
    }
    let text = fs::read(file).map_err(|error| CliError::no_input(&name, error))?;
    let text = String::from_utf8_lossy(&text);
    let found = match program {
        Program::Msmtp => {
            // Where it has no password, msmtp looks there next.
            let netrc = environment.path("HOME").and_then(|home| fs::read_to_string(home.join(".netrc")).ok());
            msmtp(&text, &hosts_of(netrc.as_deref().unwrap_or_default()))
        }
        Program::Mutt => mutt(&text),
        Program::Git => git(&text),
    };
    let folder = here.join(file).parent().map(Path::to_owned).unwrap_or_default();
    Ok(Source { name, folder, found })
}

/// The hosts that a `.netrc` has logins for.
fn hosts_of(netrc: &str) -> Vec<String> {
    let mut words = netrc.split_whitespace();
    let mut hosts = Vec::new();
    while let Some(word) = words.next() {
        if word == "machine" {
            hosts.extend(words.next().map(str::to_owned));
        }
    }
    hosts
}

/// Has git read its own configuration, or that in `file`; nothing where there is no git.
fn of_git(file: Option<&Path>) -> Result<Option<Source>, CliError> {
    let mut command = secret::command("git");
    command.arg("config");
    if let Some(file) = file {
        command.arg("--file").arg(file);
    }
    command.args(["--null", "--get-regexp", r"^sendemail\."]).stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::new(Exit::System, "git cannot be started").source(error)),
    };
    let name = file.map_or_else(|| "git config".to_owned(), |file| file.display().to_string());
    // 1 is for a section that is not there.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim().lines().next().unwrap_or_default().to_owned();
        return Err(CliError::no_input(&name, io::Error::other(words)));
    }
    let found = git(&String::from_utf8_lossy(&output.stdout));
    Ok(Some(Source { name, folder: std::env::current_dir().unwrap_or_default(), found }))
}

/// No file was there, or none says anything about sending.
fn nothing(args: &ImportArgs, sources: &[Source]) -> CliError {
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let what = match (&args.file, args.from) {
        (Some(_), _) => format!("{} says nothing about sending mail", names.join(", ")),
        (None, Some(program)) => format!("there is no configuration of {program} to import from"),
        (None, None) => "there is no configuration of msmtp, git or mutt to import from".to_owned(),
    };
    CliError::new(Exit::NoInput, what).hint("name a file: mailsend profile import --from msmtp FILE")
}

struct Import<'a> {
    args: &'a ImportArgs,
    environment: &'a Environment,
    is_quiet: bool,
    /// Name, source, and whether `login` is to come.
    taken: Vec<(String, String, bool)>,
    /// Profiles that were there already.
    kept: usize,
}

impl Import<'_> {
    fn tell(&self, line: &str) {
        if !self.is_quiet {
            ui::tell(&clean(line));
        }
    }

    /// Adds a profile, if it can be read again as one.
    fn take(&mut self, source: &Source, draft: &Draft, edit: &mut Edit, new: &mut Edit) {
        let Draft { name, settings, line, .. } = draft;
        let place = if *line == 0 { source.name.clone() } else { format!("{}:{line}", source.name) };
        let is_ours = self.taken.iter().any(|(taken, ..)| taken == name);
        if is_ours || (edit.has_profile(name) && !self.args.replace) {
            self.kept += 1;
            let way = if is_ours { "import its file alone" } else { "--replace takes the new one" };
            return self.tell(&format!("{place}: there is a profile '{name}' already, which stays as it is; {way}"));
        }
        let mut with_it = edit.clone();
        with_it.add_profile(name, settings, &source.folder);
        match self.resolved(&with_it, name) {
            Ok(profile) => {
                let takes_secret = match &profile.auth {
                    Auth::Auto => true,
                    Auth::List(list) => list.iter().any(|mechanism| mechanism.takes_secret()),
                };
                let has_source = profile.password.is_some() || profile.oauth.is_some();
                let needs_login = profile.username.is_some() && takes_secret && !has_source;
                self.taken.push((name.clone(), place, needs_login));
                *edit = with_it;
                new.add_profile(name, settings, &source.folder);
            }
            Err(ConfigError::Value { what, .. }) => self.tell(&format!("{place}: profile '{name}' cannot be: {what}")),
            Err(error) => self.tell(&format!("{place}: profile '{name}' cannot be: {error}")),
        }
    }

    /// The profile as it will be read from the file, whatever the environment says.
    fn resolved(&self, edit: &Edit, name: &str) -> Result<crate::config::Profile, ConfigError> {
        let files = Files { user: Some(edit.file()?), ..Files::default() };
        let home = self.environment.get("HOME").unwrap_or_default();
        let request = Request { profile: Some(name.to_owned()), ..Request::default() };
        resolve(&request, &files, &Environment::from([("HOME", home)]))
    }

    fn tell_what_is_next(&self, path: &str, default: Option<&str>) {
        for (name, place, _) in &self.taken {
            let default = if default == Some(name) { ", the one used when none is named" } else { "" };
            self.tell(&format!("imported profile '{name}' from {place} to {path}{default}"));
        }
        for (name, _, needs_login) in &self.taken {
            if *needs_login {
                self.tell(&format!("next: mailsend login --profile {name}"));
            }
        }
        if let [(name, ..), ..] = self.taken.as_slice() {
            self.tell(&format!("next: mailsend profile check --profile {name}"));
        }
    }
}
