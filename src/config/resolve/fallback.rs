//! The profiles that a profile falls back on.

use super::{Files, Resolver, defaults, file_layers, profile_names, shared_layers, shared_variables, value_error};
use crate::config::{ConfigError, Environment, Origin, Profile, nearest};

/// Returns the profiles that `profile` falls back on, in their order, each followed by those of its own.
///
/// They are what their tables say: no flag and no variable speaks of them, but for `[secrets]` and the proxy of the
/// whole environment.
///
/// # Errors
/// With file and line: a profile that does not exist, one that falls back on itself, a value that cannot be.
pub fn fallbacks(profile: &Profile, files: &Files, environment: &Environment) -> Result<Vec<Profile>, ConfigError> {
    let mut found = Vec::new();
    let own = profile.name.as_deref();
    // What holds for all profiles holds for the fallback itself, which is no loop.
    let is_for_all = defaults(files).iter().flatten().any(|assignment| Some(&assignment.origin) == origin_of(profile));
    let path: Vec<&str> = own.filter(|_| !is_for_all).into_iter().collect();
    let names = profile.fallback.iter().filter(|name| !is_for_all || Some(name.as_str()) != own);
    for name in names {
        follow(name, origin_of(profile), &path, files, environment, &mut found)?;
    }
    Ok(found)
}

fn origin_of(profile: &Profile) -> Option<&Origin> {
    profile.settings.iter().find(|setting| setting.key == "fallback").map(|setting| &setting.origin)
}

fn follow(
    name: &str,
    origin: Option<&Origin>,
    path: &[&str],
    files: &Files,
    environment: &Environment,
    found: &mut Vec<Profile>,
) -> Result<(), ConfigError> {
    let origin = origin.unwrap_or(&Origin::Default);
    let path = [path, &[name]].concat();
    if path[..path.len() - 1].contains(&name) {
        return Err(value_error(origin, format!("fallback: a profile falls back on itself: {}", path.join(" -> "))));
    }
    let names = profile_names(files);
    if !names.contains_key(name) {
        let what = format!("fallback: there is no profile '{}'", crate::mail::clean(name));
        let hint = nearest(name, names.keys().map(String::as_str)).map(|near| format!("did you mean '{near}'?"));
        return Err(ConfigError::Value { origin: origin.clone(), what, hint });
    }
    if found.iter().any(|earlier| earlier.name.as_deref() == Some(name)) {
        return Ok(());
    }
    let profile = resolve_alone(name, files, environment)?;
    found.push(profile.clone());
    for next in &profile.fallback {
        follow(next, origin_of(&profile), &path, files, environment, found)?;
    }
    Ok(())
}

/// A profile as its table has it.
fn resolve_alone(name: &str, files: &Files, environment: &Environment) -> Result<Profile, ConfigError> {
    let for_all = defaults(files).len();
    let mut layers = file_layers(name, files)?;
    for layer in &mut layers[..for_all] {
        layer.retain(|assignment| assignment.key.name != "fallback");
    }
    layers.extend(shared_layers(files));
    layers.push(shared_variables(environment)?);
    let mut profile = Resolver::new(environment).run(layers)?;
    profile.name = Some(name.to_owned());
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigFile, Request, SecretSource, resolve};
    use std::path::Path;

    fn found(text: &str, environment: &Environment) -> Result<Vec<Profile>, (String, Option<String>)> {
        let user = ConfigFile::parse(Path::new("c.toml"), text).unwrap();
        let files = Files { user: Some(user), ..Files::default() };
        let settings = vec![("timeouts.connect".to_owned(), "1s".to_owned(), "-o".to_owned())];
        let profile = resolve(&Request { settings, ..Request::default() }, &files, environment).unwrap();
        fallbacks(&profile, &files, environment).map_err(|error| {
            let hint = if let ConfigError::Value { hint, .. } = &error { hint.clone() } else { None };
            (error.to_string(), hint)
        })
    }

    fn names(text: &str) -> Vec<String> {
        let profiles = found(&format!("default-profile = \"a\"\n{text}"), &Environment::default()).unwrap();
        profiles.into_iter().filter_map(|profile| profile.name).collect()
    }

    #[test]
    fn fallbacks_in_their_order_each_with_its_own() {
        let table =
            |name: &str, fallback: &str| format!("[profiles.{name}]\nhost = \"{name}\"\nfallback = {fallback}\n");
        assert_eq!(
            names(&(table("a", "[\"b\", \"c\"]") + &table("b", "\"d\"") + &table("c", "\"d\"") + &table("d", "[]"))),
            ["b", "d", "c"]
        );
        assert_eq!(
            names("[defaults]\nfallback = [\"b\"]\n[profiles.a]\nhost = \"a\"\n[profiles.b]\nhost = \"b\"\n"),
            ["b"]
        );
        assert!(names("[defaults]\nfallback = [\"a\"]\n[profiles.a]\nhost = \"a\"\n").is_empty());
    }

    #[test]
    fn loops_and_strangers_have_a_line() {
        let none = Environment::default();
        let (what, _) = found("[profiles.a]\nfallback = \"a\"\n", &none).unwrap_err();
        assert_eq!(what, "c.toml:2: fallback: a profile falls back on itself: a -> a");
        let text = "default-profile = \"a\"\n[profiles.a]\nfallback = \"b\"\n[profiles.b]\nfallback = \"a\"\n";
        assert_eq!(
            found(text, &none).unwrap_err().0,
            "c.toml:5: fallback: a profile falls back on itself: a -> b -> a"
        );
        let text = "default-profile = \"a\"\n[profiles.a]\nfallback = \"bakcup\"\n[profiles.backup]\nhost = \"b\"\n";
        let (what, hint) = found(text, &none).unwrap_err();
        assert_eq!(what, "c.toml:3: fallback: there is no profile 'bakcup'");
        assert_eq!(hint.as_deref(), Some("did you mean 'backup'?"));
    }

    #[test]
    fn a_fallback_is_what_its_table_says() {
        let environment = Environment::from([("MAILSEND_USERNAME", "eve"), ("MAILSEND_TIMEOUTS_COMMAND", "1s")]);
        let text = "default-profile = \"a\"\n[profiles.a]\nhost = \"a\"\nfallback = \"b\"\n\
                    [profiles.b]\nhost = \"b\"\nusername = \"ada\"\npassword = { env = \"B\" }\n";
        let profile = found(text, &environment).unwrap().remove(0);
        assert_eq!(profile.username.as_deref(), Some("ada"));
        assert_eq!(profile.password, Some(SecretSource::Env("B".to_owned())));
        assert_eq!((profile.timeouts.connect.as_secs(), profile.timeouts.command.as_secs()), (15, 120));
    }
}
